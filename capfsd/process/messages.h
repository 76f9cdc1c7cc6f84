/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ids of messages that a journal's reader may wait for. They never change; capfsd.catalog explains
 * each, capfsd(8) lists them with their fields.
 */
#pragma once

#define MESSAGE_BROKER_RESTARTED "bbc03f8b1cc24329a20819537b444dfd"
#define MESSAGE_REQUEST_POISONED "e7c394ffeefa49508470ef4c255bd48c"
#define MESSAGE_HOLDER_LOST "be873a2bda654e44a4c21867065fbec9"
#define MESSAGE_STATE_DAMAGED "94eda873f3d0469aab93bbe8f09acfbf"
#define MESSAGE_STATE_REFUSED "0ee7aae517604c40a3b656c1f9fa9d95"
#define MESSAGE_STORE_FULL "84d113ba9fab45b5afc903ee623e7cf8"
#define MESSAGE_UNMOUNTED "389ded9954b7450db7922253491f67db"
#define MESSAGE_BROKERS_FAIL "02d8db6826a44523b8001bb01d2d6ef1"
#define MESSAGE_UPGRADED "3f0c6a1d5f5e4c6d9a2b7c81e4d09f36"
#define MESSAGE_UPGRADE_REFUSED "c51e8b7a90d44f1f8c3d2e6b5a7f1042"
#define MESSAGE_AUDIT "7d1f0b0c35c84a0f9a6e4b27d85c9e11"

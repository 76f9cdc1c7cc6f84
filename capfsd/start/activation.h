/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The listener for the control protocol that a service manager passes (LISTEN_FDS, with that name). */
#pragma once

#include <stdbool.h>

#define ACTIVATION_NAME "control"

/* Is FD one, and what is the name of its socket, by which the broker finds it? If not, that is said. */
bool activation_is_listener(int fd, char ret_name[108]);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The listener for the control protocol among the descriptors that a service manager passed
 * (LISTEN_FDS, named "control"), and its name; what is called so and is no such thing is said and
 * left. Children are not told of any of them. Returns: the descriptor, or -1.
 */
int activation_take(char ret_name[108]);

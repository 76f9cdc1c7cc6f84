/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program that does nothing, linked statically. */
int
main(void)
{
	return 0;
}

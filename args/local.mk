# SPDX-License-Identifier: LGPL-2.1-or-later
# Argument trees, a part of libcap-client.
args_sources = \
	args/args.c \
	args/check.c \
	args/decode.c \
	args/encode.c \
	args/item.c args/item.h \
	args/leaf.c args/leaf.h \
	args/leaf-socket.c \
	args/scalar.c args/scalar.h \
	args/tree.c args/tree.h \
	args/yaml.c

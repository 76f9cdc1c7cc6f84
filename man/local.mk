# SPDX-License-Identifier: LGPL-2.1-or-later
dist_man_MANS += man/capfs.5 man/capfsd.8
dist_man_MANS += man/capctl.1 man/capfs-inetd.8 man/capfs-relay.8
dist_man_MANS += man/cap-client.3

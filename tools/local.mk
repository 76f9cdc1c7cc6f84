# SPDX-License-Identifier: LGPL-2.1-or-later
EXTRA_DIST += tools/check tools/fuzz tools/packages.sh tools/quickstart
CLEANFILES += build.log

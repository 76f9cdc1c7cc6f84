# SPDX-License-Identifier: LGPL-2.1-or-later
EXTRA_DIST += tools/check tools/packages.sh tools/quickstart
CLEANFILES += build.log

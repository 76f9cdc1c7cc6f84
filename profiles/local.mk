# SPDX-License-Identifier: LGPL-2.1-or-later
# For capctl run --profile.
profilesdir = $(pkgdatadir)/profiles
dist_profiles_DATA = profiles/tool profiles/service profiles/agent

# SPDX-License-Identifier: LGPL-2.1-or-later
# Units, in the directories that configure found. Those of users and of the system have the same names,
# so each set is made in a directory of its own.
system_fixed_units = systemd/capfsd.socket systemd/capfs-spawner.socket systemd/cap.mount systemd/cap.automount
EXTRA_DIST += $(system_fixed_units) \
	systemd/capfsd.service.in systemd/capfsd@.service.in systemd/capfs-serve@.service.in \
	systemd/capfsd-user.service.in systemd/capfsd-user@.service.in \
	systemd/capfs-serve-user@.service.in \
	systemd/capfs-spawner.service.in systemd/capfs-spawner-user.service.in \
	systemd/capfsd.sysusers.conf systemd/capfsd.tmpfiles.conf

# Slower and slower, and never given up; systemd before 254 waits the same time again and again.
if HAVE_RESTART_STEPS
restart_steps = s,@restart_steps[@],RestartSteps=5\nRestartMaxDelaySec=15\n,
else
restart_steps = s,@restart_steps[@],,
endif

# Without it a service whose control groups have controllers could not be started again while any is in use.
if HAVE_RESTART_STEPS
delegate_subgroup = s,@delegate_subgroup[@],DelegateSubgroup=supervisor\n,
else
delegate_subgroup = s,@delegate_subgroup[@],,
endif

make_unit = $(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) -e 's,@sbindir[@],$(sbindir),g' \
	-e 's,@bindir[@],$(bindir),g' -e 's,@pkglibexecdir[@],$(pkglibexecdir),g' -e '$(restart_steps)' \
	-e '$(delegate_subgroup)' $< >$@-t && mv $@-t $@

systemdsystemunit_DATA = \
	systemd/system/capfsd.service systemd/system/capfsd@.service \
	systemd/system/capfs-serve@.service systemd/system/capfs-spawner.service $(system_fixed_units)
systemduserunit_DATA = \
	systemd/user/capfsd.service systemd/user/capfsd@.service \
	systemd/user/capfs-serve@.service systemd/user/capfs-spawner.service \
	systemd/capfsd.socket systemd/capfs-spawner.socket
sysusers_DATA = systemd/sysusers.d/capfsd.conf
tmpfiles_DATA = systemd/tmpfiles.d/capfsd.conf
made_units = \
	systemd/system/capfsd.service systemd/system/capfsd@.service \
	systemd/system/capfs-serve@.service systemd/system/capfs-spawner.service \
	systemd/user/capfsd.service systemd/user/capfsd@.service systemd/user/capfs-serve@.service \
	systemd/user/capfs-spawner.service \
	$(sysusers_DATA) $(tmpfiles_DATA)
CLEANFILES += $(made_units)

systemd/system/capfsd.service: systemd/capfsd.service.in Makefile
	$(make_unit)
systemd/system/capfsd@.service: systemd/capfsd@.service.in Makefile
	$(make_unit)
systemd/system/capfs-serve@.service: systemd/capfs-serve@.service.in Makefile
	$(make_unit)
systemd/user/capfsd.service: systemd/capfsd-user.service.in Makefile
	$(make_unit)
systemd/user/capfsd@.service: systemd/capfsd-user@.service.in Makefile
	$(make_unit)
systemd/user/capfs-serve@.service: systemd/capfs-serve-user@.service.in Makefile
	$(make_unit)
systemd/system/capfs-spawner.service: systemd/capfs-spawner.service.in Makefile
	$(make_unit)
systemd/user/capfs-spawner.service: systemd/capfs-spawner-user.service.in Makefile
	$(make_unit)
systemd/sysusers.d/capfsd.conf: systemd/capfsd.sysusers.conf Makefile
	$(make_unit)
systemd/tmpfiles.d/capfsd.conf: systemd/capfsd.tmpfiles.conf Makefile
	$(make_unit)

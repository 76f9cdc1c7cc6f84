# SPDX-License-Identifier: LGPL-2.1-or-later
dist_man_MANS += man/capfs.5 man/capfs-args.5 man/capfs-checkpoint.5 man/capfsd.8 man/mount.fuse.capfs.8
dist_man_MANS += man/capctl.1 man/capctl-apply.1 man/capctl-run.1 man/capfs-inetd.8 man/capfs-listen.8
dist_man_MANS += man/capfs-http.8 man/capfs-metrics-http.8 man/capfs-relay.8
dist_man_MANS += man/capfs-protocol.7 man/capfs-recipes.7

# The library: a page per group of functions, whose NAME has one of them a line.
function_pages = \
	man/capc_args_new.3 \
	man/capc_args_open.3 \
	man/capc_ask.3 \
	man/capc_attach.3 \
	man/capc_call.3 \
	man/capc_caveats.3 \
	man/capc_dispatch.3 \
	man/capc_entrypoint_new.3 \
	man/capc_export.3 \
	man/capc_grant.3 \
	man/capc_how_new.3 \
	man/capc_read.3 \
	man/capc_session_open.3 \
	man/capc_post.3 \
	man/capc_signal_new.3 \
	man/capc_spawn.3 \
	man/capc_version.3 \
	man/capc_visit.3
dist_man_MANS += man/cap-client.3 $(function_pages)

# Every function is found under its own name, too: a page that only names the page of its group.
list_function_links = for file in $(function_pages); do \
	page=`basename $$file`; \
	sed -n "/^\.Sh NAME/,/^\.Nd/ s/^\.Nm \(capc_[a-z_]*\).*/$$page \1.3/p" $(srcdir)/$$file; \
done | awk '$$1 != $$2'

install-data-hook:
	@$(list_function_links) | while read -r page link; do \
		echo ".so man3/$$page" >"$(DESTDIR)$(man3dir)/$$link" && \
			chmod 644 "$(DESTDIR)$(man3dir)/$$link" || exit 1; \
	done

uninstall-hook:
	@$(list_function_links) | while read -r page link; do \
		rm -f "$(DESTDIR)$(man3dir)/$$link"; \
	done

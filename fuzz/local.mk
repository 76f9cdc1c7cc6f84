# SPDX-License-Identifier: LGPL-2.1-or-later
# One fuzzer for each decoder of what others send. With --enable-fuzzers they are libFuzzer's, see
# tools/fuzz; else they run the files that they are given. tests/test-corpus.sh gives them fuzz/corpus.
fuzzers = \
	fuzz/fuzz-args \
	fuzz/fuzz-call \
	fuzz/fuzz-caveats \
	fuzz/fuzz-client \
	fuzz/fuzz-command \
	fuzz/fuzz-frame \
	fuzz/fuzz-handover \
	fuzz/fuzz-how \
	fuzz/fuzz-http \
	fuzz/fuzz-listener \
	fuzz/fuzz-pages \
	fuzz/fuzz-records \
	fuzz/fuzz-reply \
	fuzz/fuzz-request \
	fuzz/fuzz-server \
	fuzz/fuzz-taken \
	fuzz/fuzz-tree \
	fuzz/fuzz-visit \
	fuzz/fuzz-yaml
check_PROGRAMS += $(fuzzers)
EXTRA_DIST += fuzz/corpus

.PHONY: fuzzers
fuzzers: $(fuzzers)

fuzz_common = fuzz/fuzz.c fuzz/fuzz.h
fuzz_ldflags = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
if !FUZZERS
fuzz_common += fuzz/run.c
endif
fuzz_wire_libs = wire/libwire.la base/libbase.la
fuzz_client_libs = libcap-client/libinner.la
fuzz_model = $(fuzz_common) fuzz/store.c fuzz/store.h
fuzz_model_libs = capfsd/libmodel.la wire/libwire.la

fuzz_fuzz_call_SOURCES = fuzz/fuzz-call.c $(fuzz_common)
fuzz_fuzz_call_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_call_LDADD = $(fuzz_wire_libs)
fuzz_fuzz_handover_SOURCES = fuzz/fuzz-handover.c $(fuzz_common)
fuzz_fuzz_handover_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_handover_LDADD = $(fuzz_wire_libs)
fuzz_fuzz_reply_SOURCES = fuzz/fuzz-reply.c $(fuzz_common)
fuzz_fuzz_reply_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_reply_LDADD = $(fuzz_wire_libs)
fuzz_fuzz_request_SOURCES = fuzz/fuzz-request.c $(fuzz_common)
fuzz_fuzz_request_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_request_LDADD = $(fuzz_wire_libs)
fuzz_fuzz_listener_SOURCES = fuzz/fuzz-listener.c $(fuzz_common)
fuzz_fuzz_listener_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_listener_LDADD = $(fuzz_wire_libs)
fuzz_fuzz_taken_SOURCES = fuzz/fuzz-taken.c $(fuzz_common)
fuzz_fuzz_taken_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_taken_LDADD = $(fuzz_wire_libs)

fuzz_fuzz_caveats_SOURCES = fuzz/fuzz-caveats.c $(fuzz_common)
fuzz_fuzz_caveats_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_caveats_LDADD = $(fuzz_client_libs)
fuzz_fuzz_visit_SOURCES = fuzz/fuzz-visit.c $(fuzz_common)
fuzz_fuzz_visit_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_visit_LDADD = $(fuzz_wire_libs)

fuzz_fuzz_frame_SOURCES = fuzz/fuzz-frame.c $(fuzz_common)
fuzz_fuzz_frame_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_frame_LDADD = $(fuzz_client_libs)
fuzz_fuzz_client_SOURCES = fuzz/fuzz-client.c $(fuzz_common)
fuzz_fuzz_client_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_client_LDADD = $(fuzz_client_libs)
fuzz_fuzz_server_SOURCES = fuzz/fuzz-server.c $(fuzz_common)
fuzz_fuzz_server_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_server_LDADD = $(fuzz_client_libs)

fuzz_fuzz_args_SOURCES = fuzz/fuzz-args.c $(fuzz_common)
fuzz_fuzz_args_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_args_LDADD = $(fuzz_client_libs)
fuzz_fuzz_yaml_SOURCES = fuzz/fuzz-yaml.c $(fuzz_common)
fuzz_fuzz_yaml_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_yaml_LDADD = $(fuzz_client_libs)

fuzz_fuzz_command_SOURCES = fuzz/fuzz-command.c $(fuzz_model)
fuzz_fuzz_command_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_command_LDADD = $(fuzz_model_libs)
fuzz_fuzz_how_SOURCES = fuzz/fuzz-how.c $(fuzz_common)
fuzz_fuzz_how_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_how_LDADD = libcap-client/libcap-client.la $(fuzz_model_libs)
fuzz_fuzz_records_SOURCES = fuzz/fuzz-records.c $(fuzz_model)
fuzz_fuzz_records_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_records_LDADD = $(fuzz_model_libs)
fuzz_fuzz_tree_SOURCES = fuzz/fuzz-tree.c $(fuzz_model)
fuzz_fuzz_tree_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_tree_LDADD = $(fuzz_model_libs)

fuzz_fuzz_pages_SOURCES = fuzz/fuzz-pages.c $(fuzz_common)
fuzz_fuzz_pages_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_pages_LDADD = $(fuzz_client_libs)
fuzz_fuzz_http_SOURCES = fuzz/fuzz-http.c metrics/http.c metrics/http.h $(fuzz_common)
fuzz_fuzz_http_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_http_LDADD = helpers/libhelper.la $(fuzz_wire_libs)

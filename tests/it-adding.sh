#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Time: 1200
#
# HACKING, "Adding things", says which files a new type, verb, key, file and keeper record take, and that
# no more is needed. Here each is added to a copy of the sources by just these edits, the daemon is built,
# and what was added is used. More rows and bytes are added than would have fitted into sixteen rows or a record
# of 192 bytes, so that no bound of these kinds can come back unseen.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
have automake || harness_skip "no automake"
[ -f "$top_srcdir/configure" ] || harness_skip "no configure in the sources"

src=$TMP/src
mkdir "$src"
(cd "$top_srcdir" && tar -c --exclude=build-check --exclude='build-[b-z]*' --exclude=.git --exclude=corpus .) |
	tar -x -C "$src"
chmod -R u+w "$src"
cd "$src/capfsd" || exit 99

# Each edit must find its place.
after() { # FILE REGEX TEXT: below the first line like that
	grep -q -- "$2" "$1" || { echo "Bail out! no '$2' in $1" && exit 1; }
	awk -v re="$2" -v text="$3" '{ print } !done && $0 ~ re { print text; done = 1 }' "$1" >"$1.new" && mv "$1.new" "$1"
	edited "$1"
}
before() { # FILE REGEX TEXT
	grep -q -- "$2" "$1" || { echo "Bail out! no '$2' in $1" && exit 1; }
	awk -v re="$2" -v text="$3" '!done && $0 ~ re { print text; done = 1 } { print }' "$1" >"$1.new" && mv "$1.new" "$1"
	edited "$1"
}
# Which source files a thing takes beside its own.
edited() {
	case " $touched " in *" $1 "*) ;; *) touched="$touched $1" ;; esac
}
begin() {
	touched=
}
# The number behind those that the rows of a table have.
next_row() { # TABLE
	sed -n "/ $1\[\] = {/,/^};/s/^.ROW(\([0-9]*\),.*/\1/p" tree/rows.c | sort -n | awk 'END { print $1 + 1 }'
}
at_most_three() { # NAME
	# shellcheck disable=SC2086 # a list of words
	set -- "$1" $touched
	t_ok "$1_takes_three_source_files_at_most" test $# -le 4
}
add_source() { # ROOM/FILE BESIDE
	sed -i "s,^\(.*capfsd/$2 \\\\\)$,\1\n\tcapfsd/$1 \\\\," local.mk
	grep -q "capfsd/$1" local.mk || { echo "Bail out! $1 is not built" && exit 1; }
}

# --- a type: what it refers to, what info says of it, which limits can be kept ---
begin
cat >types/note.c <<'C'
#include "config.h"

#include <inttypes.h>

#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/types/types.h"

static struct list *
origins(struct entity *target)
{
	return &object_of(target)->origins;
}

static struct service
service(const struct capability *c)
{
	return (struct service){};
}

static void
describe(const struct capability *c, struct text *t)
{
	text_addf(t, "about=%" PRIu64 "\n", c->target->id);
}

static struct kept_limits
limits(const struct capability *c)
{
	return (struct kept_limits){.why = ", which nobody serves"};
}

const struct type note_type = {
	.name = "note",
	.target = ENTITY_OBJECT,
	.rights = RIGHT_CALL,
	.origins = origins,
	.service = service,
	.describe = describe,
	.limits = limits,
};
C
before kinds/capability/type.h 'N_CAPABILITY_TYPES,' '	TYPE_NOTE,'
after types/types.h 'extern const struct type' 'extern const struct type note_type;'
after types/types.c 'TYPE_OBJECT' '	[TYPE_NOTE] = &note_type,'
add_source types/note.c types/object.c
at_most_three a_type

# --- a verb, which makes a capability of that type ---
begin
cat >verbs/annotate.c <<'C'
#include "config.h"

#include "capfsd/kinds/capability/type.h"
#include "capfsd/ops/slots.h"
#include "capfsd/verbs/verbs.h"

static int
stage(struct operation *o)
{
	struct capability *source = capability_of(o->subject), *made = NULL;
	const struct word *as = &o->command.value[KEY_AS];
	int answer;

	answer = capability_originate(o->change, TYPE_NOTE, source->target, source->session, as->p,
		as->n, RIGHT_CALL | RIGHTS_COMMON, o->request->uid, &made);
	answer = stage_slot(o, answer, source, source->session, made);
	if (command_has(&o->command, KEY_K8))
		text_addf(&o->request->text, " k8=%.*s", (int)o->command.value[KEY_K8].n,
			o->command.value[KEY_K8].p);
	return answer;
}

const struct verb verb_annotate = {
	VERB_ROW(ANNOTATE, annotate),
	.keys = KEY_BIT(KEY_AS) | KEY_BIT(KEY_K8),
	.required = KEY_BIT(KEY_AS),
	.right = RIGHT_GRANT,
	.stage = stage,
};
C
# Its last line is the one that does not go on.
sed -i '/^#define VERBS(X)/,/[^\\]$/s/^\(\tX([A-Z_]*, [a-z_]*)\)$/\1 X(ANNOTATE, annotate)/' verbs/verbs.h
grep -q ANNOTATE verbs/verbs.h || { echo "Bail out! no list of verbs" && exit 1; }
edited verbs/verbs.h
after tree/rows.c '"as", ROW_DIRECTORY' "	ROW($(next_row capability_rows), \"annotate\", ROW_COMMAND, .verb = &verb_annotate),"
# Keys of its own, until there are more than a number of 64 bits has.
keys=
for i in 1 2 3 4 5 6 7 8; do
	keys="$keys X(K$i, \"k$i\", false, \"k$i=WORD\")"
done
sed -i "s/^\(\tX(HOLD, \"hold\", false, \"hold=N\")\).*/\1$keys \\\\/" ops/grammar.h
grep -q K8 ops/grammar.h || { echo "Bail out! no list of keys" && exit 1; }
edited ops/grammar.h
add_source verbs/annotate.c verbs/verbs.c
at_most_three a_verb

# --- files: enough to have more than sixteen in a session's directory ---
begin
cat >>tree/info.c <<'C'

void
info_slots(struct request *r, struct entity *e, struct text *t)
{
	text_addf(t, "%" PRIu64 "\n", session_of(e)->n_owned[ENTITY_CAPABILITY]);
}
C
edited tree/info.c
after tree/info.h 'void info_label' 'void info_slots(struct request *r, struct entity *e, struct text *t);'
rows='' first=$(next_row session_rows)
for i in $(seq "$first" $((first + 5))); do
	rows="$rows	ROW($i, \"slots$i\", ROW_INFO, .read = info_slots),\n"
done
after tree/rows.c '"control", ROW_SOCKET' "${rows%??}"
at_most_three a_file

# --- a record from the broker to the keeper ---
begin
before process/records.h '^struct keeper_record' '#define KEEPER_HELLO 99 /* broker: it says hello */'
before keeper/loop.c '^static const struct' 'static void
on_hello(struct keeper *k, uint32_t generation)
{
	log_message(LOG_NOTICE, "the broker says hello");
}
'
after keeper/loop.c 'KEEPER_READY, on_ready' '	{KEEPER_HELLO, on_hello},'
before broker/broker.c 'return error_trace.keeper_orders_tell.*KEEPER_READY' '	keeper_orders_tell(&b->orders, KEEPER_HELLO);'
at_most_three a_keeper_record

# --- a record larger than any buffer was ---
sed -i '/^struct capability_record/,/^};/s/^};/\tuint64_t more[16];\n};/' kinds/capability/capability-record.h
grep -q 'more\[16\]' kinds/capability/capability-record.h || { echo "Bail out! no record" && exit 1; }
sed -i 's/^_Static_assert(sizeof(struct capability_record) == 152/_Static_assert(sizeof(struct capability_record) == 280/' kinds/capability/capability.c

# --- built, and used ---
build() {
	cd "$src" && automake --foreign Makefile && mkdir -p "$TMP/build" && cd "$TMP/build" &&
		"$src/configure" --quiet CC="${CC:-cc}" CFLAGS=-O0 && make -s -j2 capfsd/capfsd
}
build >"$TMP/build.log" 2>&1
status=$?
tail -n 30 "$TMP/build.log" >"$TMP/output"
t_result $status "all_of_it_is_built"
[ $status -eq 0 ] || { t_done; exit 1; }
cd "$TMP" || exit 99
CAPFSD=$TMP/build/capfsd/capfsd
[ ! -x "$TMP/build/capfsd/.libs/capfsd" ] || CAPFSD=$TMP/build/capfsd/.libs/capfsd

harness_start --quota=caps=4096,sockets=512
job "$PROBE" serve "$TMP/echo.sock"
wait_for 5 test -S "$TMP/echo.sock"
t_ok "a_service" serve echo --proxy="$TMP/echo.sock"

echo_dir=$CAPFS/caps/echo
t_like "the_keeper_heard_the_record" 'the broker says hello' cat "$TMP/log"
t_is "the_usage_of_the_verb_comes_from_its_row" "as=NAME [k8=WORD]" "$(cat "$echo_dir/annotate")"
annotate() { # TEXT: prints the reply or the refusal
	exec 5<>"$echo_dir/annotate"
	printf '%s\n' "$1" 2>/dev/null >&5
	cat <&5
	exec 5>&-
}
t_like "the_verb_is_done" '^slot=memo id=[0-9]* k8=last$' annotate 'as=memo k8=last'
t_like "a_key_that_it_has_not_is_refused" "unknown key 'k7'" annotate 'as=other k7=x'
t_like "it_is_an_event" ' annotate session=init slot=memo id=[0-9]* ' cat "$CAPFS/events"
t_like "so_is_its_refusal" 'refused annotate session=init slot=echo ' cat "$CAPFS/events"
t_is "and_both_are_counted" "1 1" "$(sed -n \
	's/^capfs_operation\(s\|_refusals\)_total{operation="annotate"} //p' "$CAPFS/metrics" | tr '\n' ' ' | sed 's/ $//')"

memo=$CAPFS/caps/memo
t_is "the_type_says_what_it_is" "type=note" "$(head -n 1 "$memo/info")"
t_like "and_about_what" '^about=[0-9]+$' cat "$memo/info"
mkdir "$CAPFS/sessions/app"
t_ok "it_is_granted" say 'to=app as=hint' "$memo/grant"
t_fails EOPNOTSUPP "a_limit_that_it_cannot_keep_is_refused" "$CAP" grant memo app conns=2
t_is "what_was_granted_is_of_the_type" "type=note" "$(head -n 1 "$CAPFS/sessions/app/caps/hint/info")"
t_fails ECONNREFUSED "nobody_serves_it" "$PROBE" ask "$memo/socket" x
t_fails ECONNREFUSED "nor_is_it_called" say x "$memo/call"
t_is "the_other_type_is_served" x "$(timeout 10 "$PROBE" ask "$echo_dir/socket" x)"

# The kernel keeps what a file's size is until it is told otherwise.
before=$(cat "$memo/info")
for i in $(seq "$first" $((first + 5))); do
	t_is "slots${i}_is_shown" 2 "$(cat "$CAPFS/slots$i")"
	stat -c %s "$CAPFS/slots$i" >"$TMP/size$i"
done
for i in 1 2 3 4 5 6 7 8; do
	say "as=copy$i" "$echo_dir/replicate"
done
for i in $(seq "$first" $((first + 5))); do
	t_is "the_size_of_row_${i}_is_told_anew" "2 3" "$(cat "$TMP/size$i") $(stat -c %s "$CAPFS/slots$i")"
done

kill -9 "$BROKER"
wait_for 10 answers
t_is "all_of_it_is_there_after_a_crash" "$before" "$(cat "$memo/info")"
t_ok "it_is_revoked" say 1 "$memo/revoke"
t_fails ENOENT "with_what_was_derived" cat "$CAPFS/sessions/app/caps/hint/info"

harness_stop
t_done

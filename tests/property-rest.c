/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations of the property test on programs, confinement, and logs; and those of time: expiry and reaping. */
#include "config.h"

#include "tests/property.h"

#include <string.h>

#undef NDEBUG
#include <assert.h>

static struct program *
property_program(struct property *p, int i)
{
	struct entity *e = entity_find(p->world.model, p->reference.programs[i].id);

	assert(e);
	return program_of(e);
}

static void
begin_program(struct property *p, int session, int place)
{
	struct reference *ref = &p->reference;
	struct program_record record = {.phase = PHASE_STARTING, .uid = 1000};
	struct change *ch = change_begin(p->world.model);
	uint64_t left[QUOTA_N_KINDS];
	struct program *made;
	int expected;

	ref_left(ref, session, left);
	expected = left[QUOTA_THREADS] < 1 ? QUOTA_E_EXCEEDED : 0;
	if (property_done(p, ch, program_add(ch, property_session(p, session), &record, &made), expected))
		ref->programs[place] = (struct ref_program){made->entity.id, session};
}

/* It runs, or ends, or is over, whatever becomes of its session. */
static void
end_program(struct property *p, int i)
{
	struct reference *ref = &p->reference;
	struct program *program = property_program(p, i);
	struct change *ch = change_begin(p->world.model);
	struct program_record *record;

	if (property_random(p, 2)) {
		record = change_edit(ch, &program->entity);
		assert(record);
		record->phase = property_random(p, 2) ? PHASE_RUNNING : PHASE_EXITED;
		property_done(p, ch, 0, 0);
	} else if (property_done(p, ch, program_drop(ch, program), 0)) {
		ref->programs[i].id = 0;
	}
}

void
op_program(struct property *p)
{
	struct reference *ref = &p->reference;
	int session = PICK(p, ref->sessions, REF_SESSIONS), place = ref_free_program(ref);
	int old = PICK(p, ref->programs, REF_PROGRAMS);

	if (old >= 0 && (place < 0 || property_random(p, 2)))
		end_program(p, old);
	else if (place >= 0 && session >= 0 && !ref->sessions[session].closing)
		begin_program(p, session, place);
}

void
op_confine(struct property *p)
{
	struct reference *ref = &p->reference;
	int session = PICK(p, ref->sessions, REF_SESSIONS), expected = 0;
	struct confinement_record record;
	uint64_t left[QUOTA_N_KINDS];
	struct change *ch;

	if (session < 0 || ref->sessions[session].closing)
		return;
	ref_left(ref, session, left);
	if (!ref->sessions[session].confined && left[QUOTA_RAM] < REF_CONFINEMENT_RAM)
		expected = QUOTA_E_EXCEEDED;
	confinement_default(&record);
	ch = change_begin(p->world.model);
	if (property_done(p, ch, confinement_set(ch, property_session(p, session), &record), expected))
		ref->sessions[session].confined = true;
}

/* It costs nobody anything that could be wanted for something else. Rarely: all lines are looked at at each step. */
void
op_log(struct property *p)
{
	int session = PICK(p, p->reference.sessions, REF_SESSIONS);
	unsigned n = (unsigned)property_random(p, 1000);

	if (session < 0 || n >= 100)
		return;
	if (n < 50)
		log_text(p->world.model, property_session(p, session), "line %u", n);
	else
		log_refusal(p->world.model, property_session(p, session), "line %u", n);
}

void
op_expire(struct property *p)
{
	struct reference *ref = &p->reference;
	uint64_t next = 0, first = UINT64_MAX;
	int r;

	world_set_now(world_now() + property_random(p, 100));
	/* Others may come between the time and who looks at it. */
	if (property_random(p, 4) == 0)
		return;
	r = expiry_run(p->world.model, &next);
	assert(r == 0 || p->unreliable);
	if (r != 0)
		return;
	for (int i = 0; i < REF_CAPS; i++) {
		struct ref_cap *c = &ref->caps[i];

		if (c->id && c->expires <= world_now() && !ref_cap_doomed(ref, i))
			ref_cap_end(ref, i);
		if (c->id && c->expires < first && !ref_cap_doomed(ref, i))
			first = c->expires;
	}
	/* What ends otherwise before may wake it too early, never too late. */
	assert(next > world_now() && next <= first);
}

/* What is gone must have been doomed, and what is doomed must be gone when nothing is left to do.
 */
void
op_reap(struct property *p)
{
	struct reference *ref = &p->reference;
	int r = model_reap(p->world.model, 1 + (unsigned)property_random(p, 20));

	assert(r >= 0 || p->unreliable);
	property_policies_reaped(p);
	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id && !entity_find(p->world.model, ref->caps[i].id))
			assert(ref_cap_doomed(ref, i));
		else if (ref->caps[i].id)
			assert(r != 0 || !ref_cap_doomed(ref, i) || ref_cap_is_kept(ref, i));
	property_asks_reaped(p);
	property_shares_reaped(p);
	property_visits_reaped(p);
	property_ties_reaped(p);
	/* Leaves first: nobody is left behind. */
	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id && entity_find(p->world.model, ref->caps[i].id) &&
			ref->caps[i].parent >= 0)
			assert(entity_find(p->world.model, ref->caps[ref->caps[i].parent].id));
	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id && !entity_find(p->world.model, ref->caps[i].id))
			ref->caps[i].id = 0;
	/* Of what is being removed the caveats may be gone already. */
	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id && ref_cap_doomed(ref, i))
			ref->caps[i].n_caveats = caveats_count_own(property_cap(p, i));
	property_signals_reaped(p, r == 0);
	for (int i = 0; i < REF_OBJECTS; i++)
		if (ref->objects[i].id && !entity_find(p->world.model, ref->objects[i].id)) {
			assert(ref_object_doomed(ref, i));
			ref->objects[i].id = 0;
		}
	for (int i = 0; i < REF_ENTRYPOINTS; i++)
		if (ref->entrypoints[i].id &&
			!entity_find(p->world.model, ref->entrypoints[i].id)) {
			assert(ref_entrypoint_doomed(ref, i));
			ref->entrypoints[i].id = 0;
		}
	for (int i = 0; i < REF_SESSIONS; i++)
		if (ref->sessions[i].id && !entity_find(p->world.model, ref->sessions[i].id)) {
			assert(ref->sessions[i].closing);
			ref->sessions[i] = (struct ref_session){};
		} else if (ref->sessions[i].closing && !confinement_own(property_session(p, i))) {
			ref->sessions[i].confined = false;
		}
}

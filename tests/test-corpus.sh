#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P15
#
# Each fuzzer with its corpus: examples of what there is, and what once did harm.

. "$(dirname "$0")/harness.sh" || exit 99

for corpus in "$top_srcdir"/fuzz/corpus/*; do
	name=$(basename "$corpus")
	t_ok "P15_fuzz_${name}_takes_its_corpus" "$top_builddir/fuzz/fuzz-$name" "$corpus"/*
done
t_done

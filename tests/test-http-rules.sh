#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P38
#
# The expressions that HAProxy is given allow what the library allows by the same caveats: many of these, made up.
# Perl's engine stands for PCRE, which is made after it.

. "$(dirname "$0")/harness.sh" || exit 99
have perl || harness_skip "no perl"
compare() { # SEED: lines on which they do not agree
	"$(program tests/http-rules)" "$1" 4000 | tee "$TMP/rules" | perl -ne '
		chomp; my ($expression, $text, $allowed) = split /\t/;
		print "$_\n" if ($text =~ /$expression/ ? 1 : 0) != $allowed;' | head -n 3
}
for seed in 1 2 3; do
	t_is "P38_they_agree: $seed" "" "$(compare $seed)"
	allowed=$(grep -c '1$' "$TMP/rules")
	t_ok "some_are_allowed_and_some_are_not: $allowed of 4000" test "$allowed" -gt 100 -a "$allowed" -lt 3900
done

# What takes an engine that goes back through all it has tried longer than anybody waits.
slow() {
	timeout 10 perl -e '
		my $path = "/" . "a" x 2000;
		exit(("7 GET $path" =~ /$ARGV[0]/) ? 1 : 0);' "$1"
}
rules='GET /**a**a**a**a**a**a**a**a**b'
t_ok "no_caveat_makes_it_slow" slow "$("$(program tests/http-rules)" "$rules")"
t_done

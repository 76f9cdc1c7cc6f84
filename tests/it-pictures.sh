#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: S20 P21
#
# Pictures of a system of thirty sessions: graph.dot as a file and by the control protocol, what graphviz makes
# of it, and the page that a browser shows, with its search, its zoom and its answers.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=2048
cd "$TMP" || exit 99

# Somebody who sells small web sites.
serve_in() { # SESSION NAME: sets SERVER
	job "$CAP" ${1:+-s "$1"} serve "$2" --inetd -- /bin/cat
	SERVER=$!
	wait_for 10 served "$2" "$CAPFS${1:+/sessions/${1//\//\/sessions\/}}"
}
sessions() {
	local s t
	"$CAP" session create web caps=200 sockets=200 threads=100 inflight=200 ram=20M
	"$CAP" session create ci caps=60 sockets=60 threads=20 inflight=60 ram=8M
	"$CAP" session create ops caps=60 sockets=60 threads=20 inflight=60 ram=8M
	for s in edge api auth mail; do "$CAP" session create "web/$s" caps=8 sockets=8 ram=400K; done
	for t in anna bert cleo dora; do
		"$CAP" session create "web/$t" caps=24 sockets=24 threads=8 ram=2M
		for s in front shop; do "$CAP" session create "web/$t/$s" caps=4 sockets=4 ram=200K; done
	done
	for s in 1 2 3 4; do "$CAP" session create "ci/runner-$s" caps=4 sockets=8 ram=200K; done
	for s in metrics backup alert; do "$CAP" session create "ops/$s" caps=8 sockets=8 ram=200K; done
	"$CAP" session create ops/metrics/store caps=2 sockets=2 ram=50K
	"$CAP" session create ops/on-call caps=2 sockets=2 ram=50K
	"$CAP" session create ci/results caps=2 sockets=2 ram=50K
}
services() {
	local s
	for s in log dns kv registry; do serve_in "" $s; done
	for s in sessions accounts; do serve_in web $s; done
	serve_in ops archive
	serve_in ci cache
	for s in anna bert cleo dora; do serve_in web/$s pages; done
	serve_in web render
	render=$SERVER
	serve_in "" db
	db=$SERVER
}
grants() {
	local s
	grant() { "$CAP" grant "$@" || echo "failed: $*"; }
	for s in web ci ops; do grant log $s rights=call,grant rate=100/s; grant dns $s rights=call,grant; done
	grant kv web rights=call,grant conns=64
	grant db web rights=call,grant conns=40
	grant db ops rights=call,grant as=database conns=2
	grant registry ci rights=call,grant calls=5000
	for s in edge api auth mail; do grant web:log $s; done
	grant web:sessions edge
	grant web:render edge conns=16
	grant web:accounts api
	grant web:sessions api
	grant web:db api conns=10
	grant web:accounts auth
	grant web:kv auth conns=8
	grant web:dns mail
	grant web:kv mail calls=200 expires=7200
	for s in anna bert cleo dora; do
		grant web:kv $s rights=call,grant conns=8
		grant web:db $s rights=call,grant conns=4
		grant web/$s:kv front
		grant web/$s:pages front
		grant web/$s:db shop conns=2
		grant web/$s:pages shop
	done
	for s in 1 2 3 4; do grant ci:registry runner-$s calls=10; grant ci:cache runner-$s; done
	for s in metrics backup alert on-call; do grant ops:log $s rights=call,grant; done
	grant ops:archive backup
	grant ops:database backup conns=1
	grant ops/metrics:log store
}
sessions >/dev/null
services
grants >granted
t_is "thirty_sessions" "30 0" "$("$CAP" graph | grep -c 'subgraph "cluster_') $(grep -c failed granted)"

calls() {
	local i
	for i in 1 2 3 4 5 6 7 8 9; do
		echo x | timeout 10 "$CAPFS_SOCAT" -t5 - "UNIX:$CAPFS/sessions/ci/sessions/runner-2/caps/registry/socket" >/dev/null
	done
}
CAPFS_SOCAT=$(command -v socat) || harness_skip "socat is not installed"
calls
end_job "$db"
wait_for 10 detached db
end_job "$render"
wait_for 10 detached render "$CAPFS/sessions/web"

# --- the text ---

t_is "one_text_by_both_ways" "$(grep -v used= "$CAPFS/graph.dot")" "$("$CAP" graph | grep -v used=)"
t_is "in_every_session" "$(grep -v used= "$CAPFS/sessions/web/graph.dot")" "$("$CAP" -s web graph | grep -v used=)"
t_like "near_its_limit" '^ "init/ci/runner-2/caps/registry" -> .*class="call near", label="calls 9/10"' "$CAP" graph
t_is "and_nobody_else" 1 "$("$CAP" graph | grep -c 'class="call near"')"
t_is "detached" "db render" \
	"$("$CAP" graph | sed -n 's/.*label="\([a-z]*\)\\ndetached", class="object detached".*/\1/p' | sort | xargs)"
t_is "what_leads_there_is_dashed" "0" \
	"$("$CAP" graph | grep -- '-> .*\(db\|database\|render\)"' | grep -vc 'style=dashed')"
t_is "from_inside_nothing_else" "0" "$("$CAP" -s ci graph | grep -c 'init/\(web\|ops\)')"

# --- as graphviz draws it ---

mkdir empty
no_dot() { # OPTION
	PATH=$TMP/empty "$CAP" graph "$1"
}
t_fails ENOENT "without_graphviz" no_dot --svg
t_like "it_is_named" 'graphviz is not installed' no_dot --html
t_fails 'usage\|draws' "one_of_both" "$CAP" graph --svg --html
if ! have dot; then
	t_skip "svg" "graphviz is not installed"
	t_done
	exit
fi
"$CAP" graph --svg >picture.svg 2>said
t_is "svg" "0 </svg>" "$(wc -c <said) $(tail -n 1 picture.svg)"
t_is "each_session_is_a_box" 30 "$(grep -c '<g id="clust[0-9]*" class="cluster session' picture.svg)"
t_is "each_slot_a_node" "$(find "$CAPFS" -path '*/caps/*' -name info | wc -l)" \
	"$(grep -c '<g id="node[0-9]*" class="node slot"' picture.svg)"
t_is "well_formed" 0 "$(python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' picture.svg
	echo $?)"
printf '#!/bin/sh\ncat >/dev/null\nexit 1\n' >empty/dot
chmod +x empty/dot
failing() {
	PATH=$TMP/empty:$PATH "$CAP" graph --html
}
t_fails EIO "a_dot_that_fails" failing
t_is "prints_nothing" "" "$(failing 2>/dev/null)"

# --- in a browser ---

"$CAP" graph --html >page.html
t_is "a_page_of_its_own: nothing is fetched" "" \
	"$(grep -oE '(src|href)="[^"]*"|@import|url\([^)]*\)|fetch\(|https?://[^" ]*' page.html |
		grep -v 'www.w3.org/\(2000/svg\|1999/xlink\)')"
browser=
for name in chromium chromium-browser google-chrome; do
	have "$name" && browser=${browser:-$name}
done
if [ -z "$browser" ]; then
	t_skip "in_a_browser" "chromium is not installed"
	t_done
	exit
fi

# What a user does, and what is to be seen then.
cat >doing.js <<'END'
{
const told = [];
const say = (name, value) => told.push(`${name}: ${value}`);
const group = (title) => [...document.querySelectorAll("g")].find((g) => g.querySelector("title")?.textContent === title);
const lit = () => [...document.querySelectorAll(".lit > title")].map((t) => t.textContent);
const text = (selector) => document.querySelector(selector).innerText;
const press = (key, on = document.body) => on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const click = (e) => {
	const r = e.getBoundingClientRect(), where = { clientX: r.left + r.width / 2, clientY: r.top + r.height / 2, bubbles: true, cancelable: true };
	for (const type of ["pointerdown", "pointerup", "click"])
		e.dispatchEvent(new (type === "click" ? MouseEvent : PointerEvent)(type, where));
};
const width = () => Number(document.querySelector("svg").getAttribute("viewBox").split(" ")[2]);
try {
	say("title", document.title);
	click(group("init/web/anna/front/caps/kv").querySelector("path"));
	say("slot", text("#info").includes("rights=call"));
	say("way", ["init/web/anna/caps/kv", "init/web/caps/kv", "init/caps/kv", "init/entrypoints/kv/0"]
		.every((n) => lit().includes(n)));
	say("others", lit().includes("init/web/auth/caps/kv"));
	click([...document.querySelectorAll("#info button")].find((b) => b.textContent === "init/entrypoints/kv/0"));
	say("object", /state=served/.test(text("#info")) && lit().includes("init/web/auth/caps/kv"));
	say("zoomed", width() < document.querySelector("svg").getBBox().width);
	document.querySelector("#fit").click();
	const before = width();
	view.dispatchEvent(new WheelEvent("wheel", { deltaY: -200, clientX: 500, clientY: 400, bubbles: true, cancelable: true }));
	say("wheel", width() < before);
	press("-");
	press("0");
	say("whole", width() === before);
	const x = () => document.querySelector("svg").getAttribute("viewBox").split(" ")[0];
	const left = x();
	view.dispatchEvent(new PointerEvent("pointerdown", { clientX: 500, clientY: 400, bubbles: true }));
	window.dispatchEvent(new PointerEvent("pointermove", { clientX: 400, clientY: 400 }));
	window.dispatchEvent(new PointerEvent("pointerup", {}));
	say("dragged", Number(x()) > Number(left));
	press("/");
	say("focus", document.activeElement.type);
	search.value = "registry";
	search.dispatchEvent(new Event("input"));
	say("found", text("#found"));
	press("Enter", search);
	say("next", text("#found"));
	search.value = "no such";
	search.dispatchEvent(new Event("input"));
	say("nothing", text("#found"));
	press("Escape", search);
	say("cleared", lit().length);
	click(group("cluster_init/ci/runner-2").querySelector("path"));
	say("session", text("#info h2") + " " + /caps limit=4 used=2/.test(text("#info")));
	click(group("init/ci/runner-2/caps/registry->init/ci/caps/registry").querySelector("path"));
	say("arrow", text("#info").includes("calls 9/10"));
	document.querySelector("#near").click();
	say("near", [...document.querySelectorAll(".edge")].filter((g) => getComputedStyle(g).opacity === "1").length);
} catch (e) {
	say("failed", e.stack);
}
document.body.replaceChildren(Object.assign(document.createElement("pre"), { textContent: told.join("\n") }));
}
END
browse() { # PAGE
	HOME=$TMP timeout 100 "$browser" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
		--user-data-dir="$TMP/browser" --window-size=1400,1000 --virtual-time-budget=3000 --dump-dom \
		"file://$1" 2>/dev/null
}
{
	sed '/^<\/body>/,$d' page.html
	echo '<script>'
	cat doing.js
	printf '</script>\n</body>\n</html>\n'
} >driven.html
browse "$TMP/driven.html" | sed -n 's/.*<pre>//; s,</pre>.*,,; /^[a-z]*: /p' >seen
registries=$(grep -c '\("\|/\)registry[/" 0-9]*\[label=' <("$CAP" graph))
seen() { # NAME WHAT WANTED
	t_is "$1" "$3" "$(sed -n "s/^$2: //p" seen)"
}
t_is "in_a_browser" "" "$(sed -n 's/^failed: //p' seen)"
seen "the_session_is_the_title" title init
seen "click_tells_what_a_slot_may" slot true
seen "its_way_to_the_object_is_lit" way true
seen "and_no_other_one" others false
seen "click_on_a_name_goes_there" object true
seen "and_zooms" zoomed true
seen "wheel_zooms" wheel true
seen "0_shows_all" whole true
seen "drag_moves" dragged true
seen "slash_searches" focus search
seen "search_finds" found "$registries found"
seen "enter_goes_on" next "1 of $registries"
seen "search_finds_nothing" nothing "0 found"
seen "escape_clears" cleared 0
seen "click_tells_of_a_session" session "init/ci/runner-2 true"
seen "click_tells_of_an_arrow" arrow true
seen "only_what_is_near_its_limit" near 1

# --- what strangers have named ---

# As a daemon would quote it: see test-graph for how that is done.
hostile='<script>document.title=\"owned\"</script>\"]; --> ]]> &amp;lt;b&amp;gt; ∖N '"'"'onload='
cat >empty/dot <<END
#!/bin/sh
exec $(command -v dot) "\$@" <$TMP/hostile.dot
END
printf 'digraph "init" { subgraph "cluster_init" { label="%s"; tooltip="%s"; "init/caps/x" [label="%s", class="slot", tooltip="%s"]; } }\n' \
	"$hostile" "$hostile" "$hostile" "$hostile" >hostile.dot
hostile_page() {
	PATH=$TMP/empty:$PATH "$CAP" graph --html
}
hostile_page >hostile.html
t_is "one_script_alone" "1 0" "$(grep -c '<script' hostile.html) $(grep -c 'onload=[^&]*=' hostile.html)"
{
	sed '/^<\/body>/,$d' hostile.html
	cat <<'END'
<script>
pick(nodes.get("init/caps/x"));
const said = [document.title, document.querySelectorAll("script").length, info.innerText.includes('<script>document.title="owned"<' + '/script>"]; --> ]]> &lt;b&gt; ∖N')];
document.body.replaceChildren(Object.assign(document.createElement("pre"), { textContent: said.join(" ") }));
</script></body></html>
END
} >driven.html
t_is "strangers_words_stay_text" "init 2 true" "$(browse "$TMP/driven.html" | sed -n 's/.*<pre>//; s,</pre>.*,,p')"

t_done

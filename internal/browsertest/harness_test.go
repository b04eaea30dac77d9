package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// serve serves one page, and is its address.
func serve(t *testing.T, html string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src *")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang=en><meta charset=utf-8><link rel=icon href="data:,"><title>A test</title><body>`, html)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const good = `<style>:root { color-scheme: light dark }</style><main><h1>All is well</h1><p>Some text.</p>
<label>Account <input></label> <button>Search</button> <a href="#x">More</a>
<canvas width=50 height=50 role=img aria-label=Line></canvas>
<script>const c = document.querySelector('canvas').getContext('2d'); c.fillStyle = 'red'; c.fillRect(5, 5, 9, 9); c.fillStyle = 'blue'; c.fillRect(15, 5, 9, 9)</script></main>`

// A page without faults has none, in every view.
func TestGoodPage(t *testing.T) {
	tab := open(t, serve(t, good), view{})
	tab.await("document.querySelector('canvas')")
	for _, v := range views {
		tab.look(v)
		tab.readable()
	}
	if order := tab.tabOrder(); len(order) != 3 {
		t.Errorf("Tab went to %q, want three controls", order)
	}
	all := tab.speech()
	tab.says(all, "textbox", "Account")
	tab.says(all, "image", "Line")
}

// Each check finds the fault that it is for; else a page that passes would prove nothing.
func TestFaultsAreFound(t *testing.T) {
	tab := open(t, serve(t, good), view{})
	for _, test := range []struct{ name, html, check, want string }{
		{"wide", `<div style="width: 3000px">wide</div>`, "overflowing()", "scrolls sideways"},
		{"outside", `<div style="position: absolute; left: -50px; width: 40px">left</div>`, "overflowing()", "reaches from -50"},
		{"scrolls by itself", `<div style="overflow-x: auto"><div style="width: 3000px">wide</div></div>`, "overflowing()", ""},
		{"cut", `<div style="overflow: hidden; width: 50px; white-space: nowrap">more than that holds</div>`, "cut()", "hides a part"},
		{"faint", `<p style="color: #999; background: #fff">faint</p>`, "faint(4.5)", "contrast 2.85"},
		{"faint by opacity", `<p style="color: #000; background: #fff; opacity: .4">faint</p>`, "faint(4.5)", "contrast"},
		{"clear", `<p style="color: #fff; background: color-mix(in oklab, black 90%, white)">clear</p>`, "faint(4.5)", ""},
		{"faint placeholder", `<style>::placeholder { color: #bbb }</style><input placeholder="like so" style="background: #fff">`, "faint(4.5)", "(placeholder)"},
		{"blank", `<canvas width=50 height=50></canvas>`, "blank()", "is blank"},
	} {
		t.Run(test.name, func(t *testing.T) {
			eval[bool](tab, fmt.Sprintf("document.body.innerHTML = %q, true", test.html))
			got := strings.Join(ask[[]string](tab, test.check), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("%s of %s\ngot  %q\nwant %q", test.check, test.html, got, test.want)
			}
		})
	}
	tab.look(view{dark: true})
	eval[bool](tab, `document.head.innerHTML = '<style>:root { color-scheme: dark }</style>', document.body.innerHTML = '<p style="color: #333">dark on dark</p>', true`)
	if got := ask[[]string](tab, "faint(4.5)"); len(got) != 1 {
		t.Errorf("dark text on a dark page: got %q, want one fault", got)
	}
}

// What goes wrong inside a page is heard of.
func TestComplaintsAreHeard(t *testing.T) {
	tab := open(t, serve(t, `<p>Hello`), view{})
	for _, test := range []struct{ name, script, want string }{
		{"exception", "setTimeout(() => { throw new Error('thrown') })", "thrown"},
		{"console", "console.error('told')", "told"},
		{"policy", "document.body.innerHTML = '<img src=\"/picture.png\">'", "Content Security Policy"},
		{"request", "fetch('http://127.0.0.1:1/').catch(() => {})", "ERR_"},
	} {
		t.Run(test.name, func(t *testing.T) {
			eval[bool](tab, "void ("+test.script+"), true")
			var got string
			tab.awaitGo(func() bool {
				got += strings.Join(tab.complaints(), "\n")
				return strings.Contains(got, test.want)
			}, func() string { return fmt.Sprintf("heard %q, want %q", got, test.want) })
		})
	}
}

package debug

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
)

// Only this machine sees the page, unless Authorize says otherwise.
func TestAccess(t *testing.T) {
	w := newWorld(t, Options{}, engine.Options{})
	for _, tt := range []struct {
		name, remote, host string
		header             [2]string
		want               int
	}{
		{"IPv4", "127.0.0.1:1", "127.0.0.1:6060", [2]string{}, 200},
		{"another of the loopback addresses", "127.8.9.1:1", "127.8.9.1", [2]string{}, 200},
		{"IPv6", "[::1]:1", "[::1]:6060", [2]string{}, 200},
		{"IPv6 without a port", "[::1]:1", "[::1]", [2]string{}, 200},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:1", "localhost", [2]string{}, 200},
		{"localhost in capitals", "127.0.0.1:1", "LocalHost:80", [2]string{}, 200},
		{"another machine", "10.0.0.7:1", "localhost", [2]string{}, 403},
		{"another machine by IPv6", "[2001:db8::1]:1", "localhost", [2]string{}, 403},
		{"no address", "@", "localhost", [2]string{}, 403},
		{"DNS rebinding", "127.0.0.1:1", "evil.example:6060", [2]string{}, 403},
		{"a name that begins so", "127.0.0.1:1", "localhost.evil.example", [2]string{}, 403},
		{"a name that ends so", "127.0.0.1:1", "evil-localhost", [2]string{}, 403},
		{"a name like an address", "127.0.0.1:1", "127.0.0.1.evil.example", [2]string{}, 403},
		{"no host", "127.0.0.1:1", "", [2]string{}, 403},
		{"another address of this machine", "127.0.0.1:1", "192.168.1.5", [2]string{}, 403},
		{"any address", "127.0.0.1:1", "0.0.0.0:6060", [2]string{}, 403},
		{"behind a proxy", "127.0.0.1:1", "localhost", [2]string{"X-Forwarded-For", "1.2.3.4"}, 403},
		{"behind another proxy", "127.0.0.1:1", "localhost", [2]string{"Forwarded", "for=1.2.3.4"}, 403},
		{"behind Go's proxy of a name", "127.0.0.1:1", "localhost", [2]string{"X-Forwarded-Host", "x"}, 403},
	} {
		for _, path := range []string{"/debug/recourse/", "/debug/recourse/held.json", "/debug/recourse/stream", "/debug/recourse/page.js", "/debug/recourse/lift"} {
			r := request("GET", path, nil)
			r.RemoteAddr, r.Host = tt.remote, tt.host
			if tt.header[0] != "" {
				r.Header.Set(tt.header[0], tt.header[1])
			}
			if tt.want == 200 && (path == "/debug/recourse/stream" || strings.HasSuffix(path, "lift")) {
				continue
			}
			if got := w.serve(r); got.Code != tt.want {
				t.Errorf("%s, %s: status %d, want %d", tt.name, path, got.Code, tt.want)
			}
		}
	}

	asked := 0
	w = newWorld(t, Options{Authorize: func(r *http.Request) bool { asked++; return r.Header.Get("X-User") == "ann" }}, engine.Options{})
	for _, tt := range []struct {
		name, remote, user string
		want               int
	}{
		{"whom it lets in", "10.0.0.7:1", "ann", 200},
		{"whom it does not", "10.0.0.7:1", "bob", 403},
		{"not even from here", "127.0.0.1:1", "", 403},
	} {
		r := request("GET", "/debug/recourse/", nil)
		r.RemoteAddr, r.Host = tt.remote, "workers.example"
		r.Header.Set("X-User", tt.user)
		if got := w.serve(r); got.Code != tt.want {
			t.Errorf("Authorize, %s: status %d, want %d", tt.name, got.Code, tt.want)
		}
	}
	if asked != 3 {
		t.Errorf("Authorize was asked %d times, want 3", asked)
	}
}

// Every answer, refused ones too, says what a browser may do with it.
func TestHeaders(t *testing.T) {
	w := newWorld(t, Options{}, engine.Options{})
	for _, path := range []string{"/debug/recourse/", "/debug/recourse/page.js", "/debug/recourse/held.json", "/debug/recourse/nothing", "/debug/recourse/rule?policy=x&rule=y"} {
		h := w.serve(request("GET", path, nil)).Header()
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: Content-Security-Policy %q lacks %q", path, policy, want)
			}
		}
		for _, no := range []string{"unsafe", "*", "data:", "http"} {
			if strings.Contains(policy, no) {
				t.Errorf("%s: Content-Security-Policy %q has %q", path, policy, no)
			}
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" || h.Get("Content-Type") == "" || h.Get("Cache-Control") == "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	page := w.get("")
	for _, no := range []string{"<script>", " style=", "<style", " onclick", "javascript:", `src="http`, `href="/`, `action="/`, "//cdn"} {
		if strings.Contains(page, no) {
			t.Errorf("the page has %q", no)
		}
	}
}

var tokens = regexp.MustCompile(`name="token" value="([^"]+)"`)

// token is that of the page's forms.
func (w *world) token(target string) string {
	w.t.Helper()
	m := tokens.FindStringSubmatch(w.get(target))
	if m == nil {
		w.t.Fatalf("%s has no form with a token", target)
	}
	return m[1]
}

// An action is a POST from the page itself, with its token, where actions are enabled; nothing
// else changes anything.
func TestActionsAreGuarded(t *testing.T) {
	w := newWorld(t, Options{Actions: true, ShowAccounts: true}, engine.Options{})
	off := newWorld(t, Options{}, engine.Options{})
	token := w.token("?account=ann")
	form := url.Values{"token": {token}, "account": {"ann"}, "for": {"30m"}, "reason": {"test"}}
	with := func(key, value string) url.Values {
		f := url.Values{}
		for k, v := range form {
			f[k] = v
		}
		f.Set(key, value)
		return f
	}
	for _, tt := range []struct {
		name   string
		w      *world
		method string
		form   url.Values
		header [][2]string
		want   int
	}{
		{"a GET", w, "GET", nil, nil, 405},
		{"a PUT", w, "PUT", form, nil, 405},
		{"no token", w, "POST", with("token", ""), nil, 403},
		{"another handler's token", w, "POST", with("token", off.page.(*handler).token), nil, 403},
		{"another site, by Sec-Fetch-Site", w, "POST", form, [][2]string{{"Sec-Fetch-Site", "cross-site"}}, 403},
		{"a sibling of the site", w, "POST", form, [][2]string{{"Sec-Fetch-Site", "same-site"}}, 403},
		{"nobody's page", w, "POST", form, [][2]string{{"Sec-Fetch-Site", "none"}}, 403},
		{"another origin", w, "POST", form, [][2]string{{"Origin", "http://evil.example"}}, 403},
		{"another port of this machine", w, "POST", form, [][2]string{{"Origin", "http://localhost:8080"}}, 403},
		{"the origin null", w, "POST", form, [][2]string{{"Origin", "null"}}, 403},
		{"another origin that claims to be the same", w, "POST", form, [][2]string{{"Origin", "http://evil.example"}, {"Sec-Fetch-Site", "same-origin"}}, 403},
		{"a form that is too large", w, "POST", with("reason", strings.Repeat("x", maxForm+1)), nil, 400},
		{"no account", w, "POST", with("account", ""), nil, 409},
		{"no such length of time", w, "POST", with("for", "1000h"), nil, 409},
		{"actions are off", off, "POST", with("token", off.page.(*handler).token), nil, 403},
		{"the page's own form", w, "POST", form, [][2]string{{"Origin", "http://localhost:6060"}, {"Sec-Fetch-Site", "same-origin"}}, 303},
	} {
		r := request(tt.method, "/debug/recourse/pause", tt.form)
		for _, h := range tt.header {
			r.Header.Set(h[0], h[1])
		}
		rec := tt.w.serve(r)
		if rec.Code != tt.want {
			t.Errorf("%s: status %d, want %d: %s", tt.name, rec.Code, tt.want, rec.Body)
		}
		if paused := len(tt.w.engine.Paused()) > 0; paused != (tt.want == 303) {
			t.Errorf("%s: paused is %v", tt.name, paused)
		}
	}
	if page := off.get("?account=ann"); strings.Contains(page, `method="post"`) {
		t.Error("the page has forms although actions are off")
	}
	// A token in the URL does not count, since it would be in logs and histories.
	r := request("POST", "/debug/recourse/resume?token="+token+"&account=ann", url.Values{})
	if rec := w.serve(r); rec.Code != 403 || len(w.engine.Paused()) != 1 {
		t.Errorf("a token in the URL: status %d, want 403", rec.Code)
	}
}

// What the forms do, and that the observer is told.
func TestActions(t *testing.T) { synctest.Test(t, testActions) }

func testActions(t *testing.T) {
	var told []string
	watch := &watcher{told: &told}
	w := newWorld(t, Options{Actions: true}, engine.Options{Observer: watch})
	if err := w.call("ann@example.com", "get", 200, "{}"); err != nil {
		t.Fatal(err)
	}
	post := func(name string, form url.Values) string {
		t.Helper()
		form.Set("token", w.token("?account=ann@example.com"))
		rec := w.serve(request("POST", "/debug/recourse/"+name, form))
		if rec.Code != http.StatusSeeOther {
			t.Fatalf("%s: status %d: %s", name, rec.Code, rec.Body)
		}
		to := rec.Header().Get("Location")
		if !strings.HasPrefix(to, "./?") || strings.Contains(to, "ann@") {
			t.Errorf("%s goes on at %q, want a relative link without the account's name", name, to)
		}
		to, _, _ = strings.Cut(strings.TrimPrefix(to, "./"), "#")
		return w.get(to)
	}
	p, _ := w.engine.Provider("shop")
	keys := limiter.Keys{Account: "ann@example.com"}
	var full table[keyRow]
	w.json("fullest.json", &full)
	if len(full.Rows) == 0 {
		t.Fatal("no key is shown")
	}
	ref := regexp.MustCompile(`key\?key=([0-9a-f]+)" aria-label="Hold limit requests`).FindStringSubmatch(w.get(""))
	if ref == nil {
		t.Fatal("no link holds a limit")
	}
	if page := w.get("key?key=" + ref[1]); !strings.Contains(page, `id="hold-form"`) {
		t.Errorf("the key's page has no form:\n%s", page)
	}
	page := post("hold", url.Values{"key": {ref[1]}, "for": {"30m"}})
	if s := p.Peek("requests", keys); s.Held.Before(time.Now().Add(29*time.Minute)) || s.Cause.Rule != byHand {
		t.Errorf("after hold: %+v", s)
	}
	if text := section(page, "held"); !strings.Contains(text, "by hand") || !strings.Contains(page, "The limit is held.") {
		t.Errorf("the page after hold: %s", text)
	}
	page = post("lift", url.Values{"key": {ref[1]}})
	if s := p.Peek("requests", keys); !s.Held.IsZero() || !strings.Contains(section(page, "held"), "Nothing is held") {
		t.Errorf("after lift: %+v", s)
	}
	page = post("pause", url.Values{"account": {"ann@example.com"}, "for": {""}, "reason": {"she asked for it"}})
	if got := w.engine.Paused(); len(got) != 1 || got[0].Account != "ann@example.com" || !got[0].Until.IsZero() || got[0].Reason != "she asked for it" {
		t.Errorf("after pause: %+v", got)
	}
	if text := section(page, "result"); !strings.Contains(text, "paused until somebody resumes it") || !strings.Contains(text, "she asked for it") {
		t.Errorf("the page after pause: %s", text)
	}
	post("resume", url.Values{"account": {w.page.(*handler).names.account("ann@example.com")}})
	if got := w.engine.Paused(); len(got) != 0 {
		t.Errorf("after resume: %+v", got)
	}
	if got, want := strings.Join(told, ", "), "attempt, hold requests, lift requests, paused, resumed"; got != want {
		t.Errorf("the observer was told %q, want %q", got, want)
	}
	rec := w.serve(request("POST", "/debug/recourse/lift", url.Values{"token": {w.token("?account=x")}, "key": {"0123456789abcdef"}}))
	if rec.Code != http.StatusConflict {
		t.Errorf("a key that was never shown: status %d, want 409", rec.Code)
	}
}

// The page works wherever it is mounted.
func TestMounted(t *testing.T) {
	w := newWorld(t, Options{}, engine.Options{})
	for _, tt := range []struct {
		name, base string
		page       http.Handler
	}{
		{"as pprof is", "/debug/recourse/", w.page},
		{"elsewhere", "/internal/a/b/", w.page},
		{"at the root", "/", w.page},
		{"with StripPrefix", "/x/", http.StripPrefix("/x", w.page)},
		{"with StripPrefix and its slash", "/x/", http.StripPrefix("/x/", w.page)},
	} {
		mux := http.NewServeMux()
		mux.Handle(tt.base, tt.page)
		on := &world{t, w.engine, mux}
		page := on.serve(request("GET", tt.base, nil))
		if page.Code != 200 {
			t.Errorf("%s: status %d", tt.name, page.Code)
		}
		for _, m := range regexp.MustCompile(`(?:href|src)="([a-zA-Z]+\.(?:css|json|js|svg|txt))`).FindAllStringSubmatch(page.Body.String(), -1) {
			if rec := on.serve(request("GET", tt.base+m[1], nil)); rec.Code != 200 {
				t.Errorf("%s: %s has status %d", tt.name, m[1], rec.Code)
			}
		}
		if rec := on.serve(request("GET", tt.base+"nothing", nil)); rec.Code != 404 {
			t.Errorf("%s: what there is not has status %d, want 404", tt.name, rec.Code)
		}
	}
	if rec := w.serve(request("POST", "/debug/recourse/", url.Values{})); rec.Code != 405 {
		t.Errorf("a POST of the page: status %d, want 405", rec.Code)
	}
	if rec := w.serve(request("HEAD", "/debug/recourse/", nil)); rec.Code != 200 {
		t.Errorf("a HEAD of the page: status %d, want 200", rec.Code)
	}
}

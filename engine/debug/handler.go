package debug

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"

	"github.com/recourse-go/recourse/engine"
)

// Options configure a Handler. The zero value shows the page to requests from this machine, with
// accounts as pseudonyms and without actions.
type Options struct {
	// Actions lets the page hold and lift limits, and pause and resume accounts. An action is a POST
	// from the page itself, and the engine's observers are told of it. false = the page only shows.
	Actions bool

	// ShowAccounts shows the names of accounts, and of whatever else limits count by. false = it shows
	// pseudonyms such as u-1f0c4a8e9b7d2635; an account can be searched by its name in either case.
	ShowAccounts bool

	// Authorize reports whether a request may see the page and, with Actions, act. It must be safe for
	// concurrent use. nil = only requests from this machine may: the remote address must be a loopback
	// address, the Host must be localhost or a loopback address (which keeps DNS rebinding out), and
	// no header may say that a proxy has passed the request on.
	Authorize func(*http.Request) bool

	// Key is the key of the pseudonyms (HMAC-SHA-256). With the same key they are the same in every
	// process, after a restart, and in the files of package record. nil = a random key.
	Key []byte

	// Streams is how many open pages may refresh themselves at the same time; 0 = 16.
	Streams int
}

const defaultStreams = 16

// handler serves the page of one engine.
type handler struct {
	engine *engine.Engine
	o      Options
	names  *names
	seen   *collector
	look   look
	whys   struct {
		mu      sync.Mutex
		answers lately[string, *whyAnswer]
	}
	token   string // a secret in each form, which another site cannot read
	origin  *http.CrossOriginProtection
	streams chan struct{} // has an element for each open stream
}

// Handler returns the page of an engine. The page listens to the engine from now on and for ever,
// so make it once, when the engine is made. It is safe for concurrent use.
func Handler(eng *engine.Engine, o Options) http.Handler {
	if o.Streams <= 0 {
		o.Streams = defaultStreams
	}
	random := make([]byte, 64)
	rand.Read(random) // never fails
	if len(o.Key) == 0 {
		o.Key = random[:32]
	}
	h := &handler{
		engine: eng, o: o, names: newNames(o.Key, o.ShowAccounts), seen: newCollector(),
		token: base64.RawURLEncoding.EncodeToString(random[32:]), origin: http.NewCrossOriginProtection(),
		streams: make(chan struct{}, o.Streams),
	}
	h.whys.answers.most = maxWhys
	eng.Attach(h.seen)
	return h
}

// ServeHTTP implements http.Handler. It uses only the last part of the path, so that the page works
// wherever it is mounted.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if !h.allowed(r) {
		http.Error(w, "recourse: this page is for requests from this machine, unless its Options.Authorize lets others in", http.StatusForbidden)
		return
	}
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if act, ok := actions[name]; ok {
		h.act(w, r, act)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "recourse: only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	base, isJSON := strings.CutSuffix(name, ".json")
	switch {
	case isJSON:
		h.serveJSON(w, r, base)
	case name == "stream":
		h.stream(w, r)
	case files[name].data != "":
		serveFile(w, files[name])
	case pages[name] != nil:
		h.servePage(w, r, pages[name])
	default:
		http.Error(w, "recourse: no such page", http.StatusNotFound)
	}
}

// secure sets the headers of every answer: the page loads and runs only its own files, no other
// page can frame it, and no cache keeps it.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer a browser would send the page's own forms with the origin null
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

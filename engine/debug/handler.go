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
	// Actions lets the page hold and lift limits, and pause and resume accounts: by a POST from the
	// page itself, of which the observer is told. false = the page only shows.
	Actions bool

	// ShowAccounts shows accounts, and whatever else limits count by, by name. false = as pseudonyms
	// such as u-1f0c4a8e9b7d2635; a search for a name works all the same.
	ShowAccounts bool

	// Authorize reports whether a request may see the page and, with Actions, act. It must be safe for
	// concurrent use. nil = only requests from this machine may: the remote address is a loopback
	// one, the Host is localhost or a loopback address (which a name that an attacker points here
	// is not), and no proxy has passed them on, as far as its headers say.
	Authorize func(*http.Request) bool

	// Key is what pseudonyms are made by (HMAC-SHA-256), so that they are the same in every
	// process and after a restart: record.Options.Key makes the same ones. nil = a random one.
	Key []byte

	// Streams is how many pages may refresh by themselves at once; 0 = 16.
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
	token   string // that forms carry: another site cannot read it
	origin  *http.CrossOriginProtection
	streams chan struct{} // has an element for each stream
}

// Handler makes the page of an engine, which it listens to from now on: make it once, when the
// engine is made. It is safe for concurrent use.
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

// ServeHTTP answers by the last part of the path alone, so that the page works wherever it is mounted.
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

// secure sets the headers that every answer has: nothing runs or loads but the page's own
// files, nobody frames it, and no cache keeps it.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with none at all a browser calls the origin of the page's own forms null
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

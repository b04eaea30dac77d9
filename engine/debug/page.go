package debug

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/internal/uplot"
)

// The page itself: its templates, and the files that it loads.

//go:embed static
var static embed.FS

// file is a file that the page loads.
type file struct{ kind, data string }

var files = map[string]file{
	"page.css":    {"text/css; charset=utf-8", embedded("page.css")},
	"page.js":     {"text/javascript; charset=utf-8", embedded("page.js")},
	"icon.svg":    {"image/svg+xml", embedded("icon.svg")},
	"uplot.js":    {"text/javascript; charset=utf-8", uplot.Script},
	"uplot.css":   {"text/css; charset=utf-8", uplot.Style},
	"LICENSE.txt": {"text/plain; charset=utf-8", uplot.License},
}

func embedded(name string) string {
	data, err := static.ReadFile("static/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(data)
}

// edition changes with the files, so that a browser loads new ones after an update.
var edition = func() string {
	h := sha256.New()
	for _, name := range []string{"page.css", "page.js", "icon.svg", "uplot.js", "uplot.css"} {
		io.WriteString(h, files[name].data)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}()

func serveFile(w http.ResponseWriter, f file) {
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Cache-Control", "private, max-age=86400")
	io.WriteString(w, f.data)
}

// content is the data for a template.
type content struct {
	Title   string
	Now     time.Time
	Edition string
	Actions bool
	Token   string
	Lengths any
	Done    string // what an action has done
	Typed   string // the text in the search field
	Stream  string // the URL of the page's stream; "" = the page does not refresh itself

	View    *view
	Account *accountView // nil = none is searched
	Rule    *explanation
	Key     *keyRow
}

// pages holds the functions that make the content of each page. They return nil if there is nothing
// to show.
var pages = map[string]func(*handler, *http.Request) *content{"": (*handler).index, "rule": (*handler).rulePage, "key": (*handler).keyPage}

func (h *handler) content(title string) *content {
	return &content{Title: title, Now: time.Now(), Edition: edition, Actions: h.o.Actions, Token: h.token, Lengths: lengths}
}

// dones holds what the page says after each action.
var dones = map[string]string{
	"hold": "The limit is held.", "lift": "The hold is lifted.", "pause": "The account is paused.", "resume": "The account is resumed.",
	"pause-here":  "The account is paused in this process. The others are told once the store answers.",
	"resume-here": "The account is resumed in this process. The others are told once the store answers.",
}

// index makes the main page.
func (h *handler) index(r *http.Request) *content {
	c := h.content("Recourse")
	c.View = h.view()
	c.Now = c.View.Time
	c.Stream = "stream"
	q := r.URL.Query()
	c.Done = dones[q.Get("done")]
	if typed := typedAccount(q); typed != "" {
		c.Typed = typed
		c.Account = h.account(typed)
		c.Now = c.Account.Time
		c.Stream += "?" + url.Values{"account": {typed}}.Encode()
	}
	return c
}

// maxTyped is how many bytes of a search are used.
const maxTyped = 1 << 10

// typedAccount returns the account that somebody searches for.
func typedAccount(q url.Values) string {
	typed := strings.TrimSpace(q.Get("account"))
	return typed[:min(len(typed), maxTyped)]
}

// rulePage explains the latest decision of a rule.
func (h *handler) rulePage(r *http.Request) *content {
	x := h.explain(ruleOf(r.URL.Query()))
	if x == nil {
		return nil
	}
	c := h.content("Rule " + x.Rule + " of " + x.Policy + " – Recourse")
	c.Rule = x
	return c
}

func ruleOf(q url.Values) ruleKey {
	return ruleKey{policy: q.Get("policy"), rule: q.Get("rule"), own: q.Get("own") != ""}
}

// keyPage makes the page on which a limit can be held for a key.
func (h *handler) keyPage(r *http.Request) *content {
	k, ok := h.names.limitKey(r.URL.Query().Get("key"))
	if !ok {
		return nil
	}
	p, err := h.engine.Provider(k.provider)
	if err != nil {
		return nil
	}
	s := p.Peek(k.limit, k.keys)
	if s.Limit == "" {
		return nil
	}
	row := h.keyRow(k.provider, &s)
	c := h.content("Limit " + row.Limit + " of " + row.Provider + " – Recourse")
	c.Key = &row
	return c
}

func (h *handler) servePage(w http.ResponseWriter, r *http.Request, of func(*handler, *http.Request) *content) {
	c := of(h, r)
	if c == nil {
		http.Error(w, "recourse: nothing is known of that any more", http.StatusNotFound)
		return
	}
	var page bytes.Buffer
	if err := h.render(&page, "page", c); err != nil {
		http.Error(w, "recourse: the page cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(page.Bytes())
}

func (h *handler) render(w io.Writer, name string, c *content) error {
	return templates.ExecuteTemplate(w, name, c)
}

// serveJSON answers with a table.
func (h *handler) serveJSON(w http.ResponseWriter, r *http.Request, name string) {
	value := h.tableNamed(name, r.URL.Query())
	if value == nil {
		http.Error(w, "recourse: no such table, or nothing is known of that any more", http.StatusNotFound)
		return
	}
	out, err := json.MarshalIndent(value, "", "  ") // escapes <, > and &
	if err != nil {
		http.Error(w, "recourse: the table cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(out, '\n'))
}

// tableNamed returns the value that NAME.json shows; nil = there is none.
func (h *handler) tableNamed(name string, q url.Values) any {
	switch name {
	case "account":
		if typed := typedAccount(q); typed != "" {
			return h.account(typed)
		}
		return nil
	case "rule":
		if x := h.explain(ruleOf(q)); x != nil {
			return x
		}
		return nil
	}
	of := tables[name]
	if of == nil {
		return nil
	}
	return of(h.view())
}

// tables are the tables of a view, by the names of their JSON.
var tables = map[string]func(*view) any{
	"summary":     func(v *view) any { return v.Summary },
	"held":        func(v *view) any { return v.Held },
	"fullest":     func(v *view) any { return v.Fullest },
	"waits":       func(v *view) any { return v.Waits },
	"decisions":   func(v *view) any { return v.Decisions },
	"breakers":    func(v *view) any { return v.Breakers },
	"budgets":     func(v *view) any { return v.Budgets },
	"credentials": func(v *view) any { return v.Credentials },
	"pauses":      func(v *view) any { return v.Pauses },
	"policies":    func(v *view) any { return v.Policies },
	"reloads":     func(v *view) any { return v.Reloads },
	"shadow":      func(v *view) any { return v.Shadow },
	"fleet":       func(v *view) any { return v.Fleet },
	"events":      func(v *view) any { return v.Events },
}

// when is a time, with its distance from the time of the page.
type when struct {
	At       time.Time
	Relative string
}

// since says how a moment lies to now: "3 s ago", "in 2 min".
func since(now, t time.Time) when {
	d := t.Sub(now)
	switch {
	case d > -time.Second && d < time.Second:
		return when{t, "now"}
	case d < 0:
		return when{t, whole(-d) + " ago"}
	}
	return when{t, "in " + whole(d)}
}

// whole returns a length of time without fractions of a second.
func whole(d time.Duration) string {
	if d < 2*time.Minute {
		return strconv.Itoa(int(math.Round(d.Seconds()))) + " s"
	}
	return duration(d)
}

// number returns a number without needless digits.
func number(v any) string {
	switch n := v.(type) {
	case float64:
		if math.Abs(n) >= 100 || n == math.Trunc(n) {
			return grouped(strconv.FormatFloat(n, 'f', 0, 64))
		}
		return strconv.FormatFloat(n, 'f', 1, 64)
	default:
		return grouped(fmt.Sprint(n))
	}
}

// grouped puts narrow spaces between thousands.
func grouped(digits string) string {
	sign, rest := "", digits
	if strings.HasPrefix(digits, "-") {
		sign, rest = "-", digits[1:]
	}
	var b strings.Builder
	for i, c := range rest {
		if i > 0 && (len(rest)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}

// ahead returns the first seven attempts that an explanation foresees, and the last one.
func ahead(next []explain.Attempt) []explain.Attempt {
	const first = 7
	if len(next) > first+1 {
		return append(slices.Clone(next[:first]), next[len(next)-1])
	}
	return next
}

// limitName returns a short name of a provider's limit.
func limitName(provider, limit string) string {
	switch {
	case provider == "" && limit == "":
		return "others"
	case limit == "":
		return provider + ": credentials"
	}
	return provider + ": " + limit
}

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"since": since, "number": number, "limitName": limitName, "chart": chartOf,
	"seconds": func(s float64) string { return duration(time.Duration(s * float64(time.Second))) },
	"ahead":   ahead,
	"percent": func(f float64) int { return int(math.Round(100 * f)) },
	"row":     func(c *content, row any) map[string]any { return map[string]any{"Page": c, "Row": row} },
}).ParseFS(static, "static/*.html"))

package browsertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/debug"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

const mailYAML = `
version: 1
provider: mail
backoff: {default: {initial: 1s, max: 64s, attempts: 6}}
limits:
  - {name: requests, key: account, rate: 60/h, burst: 1000}
  - {name: sending, key: account, operations: [send]}
rules:
  - name: throttled
    when: status == 429
    action: wait
    max_wait: 2h
    hold: requests
  - name: gone
    when: status == 410
    action: fail
    as: gone
default: fail
`

// world is an engine with a debug page on a server of its own.
type world struct {
	t        *testing.T
	engine   *engine.Engine
	provider *engine.Provider
	url      string // of the page
	calls    sync.WaitGroup
	ctx      context.Context
}

func newWorld(t *testing.T, o debug.Options) *world {
	t.Helper()
	set, problems := policy.Load([]policy.File{{Name: "mail.yaml", Data: []byte(mailYAML)}}, policy.LoadOptions{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	eng, err := engine.New(engine.Options{Policies: set, MaxInline: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	p, err := eng.Provider("mail")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(debug.Handler(eng, o))
	w := &world{t: t, engine: eng, provider: p, url: server.URL + "/", ctx: ctx}
	t.Cleanup(func() {
		cancel()
		w.calls.Wait()
		_ = eng.Close() // ends the pages' streams
		server.Close()
	})
	return w
}

// call makes a call of an account, whose first attempt fails by an error, if it is not nil.
func (w *world) call(account string, failure error) error {
	return w.provider.Do(w.ctx, engine.Call{Keys: limiter.Keys{Account: account, Operation: "messages.get"}, Method: "GET"}, func(context.Context) error {
		err := failure
		failure = nil
		return err
	})
}

// refused is a refusal by the server, which asks to come again after a time; 0 = it does not.
func refused(status int, after time.Duration) error {
	err := &engine.ResponseError{Status: status, Provider: "mail", Operation: "messages.get", Header: http.Header{}}
	if after > 0 {
		err.Header.Set("Retry-After", strconv.Itoa(int(after.Seconds())))
	}
	return err
}

// hold makes a call that the server asks to come again later, by which the account's limit is
// held, and another one that waits for it.
func (w *world) hold(account string) {
	w.t.Helper()
	state := func() limiter.State { return w.provider.Peek("requests", limiter.Keys{Account: account}) }
	w.calls.Go(func() { _ = w.call(account, refused(429, 30*time.Minute)) })
	w.until(func() bool { return !state().Held.IsZero() }, "the limit of "+account+" is held")
	w.calls.Go(func() { _ = w.call(account, nil) })
	w.until(func() bool { return state().Waiting > 0 }, "a call of "+account+" waits")
}

// until waits for what the engine's own goroutines do.
func (w *world) until(holds func() bool, what string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}

// usual is a world in which something of everything has happened.
func usual(t *testing.T, o debug.Options) *world {
	t.Helper()
	w := newWorld(t, o)
	w.hold("ann@example.org")
	if err := w.call("ben@example.org", refused(410, 0)); err == nil {
		t.Fatal("a call that failed for good has no error")
	}
	if err := w.call("cleo@example.org", nil); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.PauseAccount("dan@example.org", time.Now().Add(time.Hour), "asked for by support"); err != nil {
		t.Fatal(err)
	}
	return w
}

var all = debug.Options{Actions: true, ShowAccounts: true}

// pages are the addresses of each kind of page.
func (w *world) pages(tab *tab) map[string]string {
	w.t.Helper()
	tab.await("document.querySelector('#held-table tbody a') && document.querySelector('#fullest-table tbody a.act')")
	return map[string]string{
		"all":         w.url,
		"an account":  w.url + "?account=" + url.QueryEscape("ann@example.org"),
		"one unknown": w.url + "?account=" + url.QueryEscape(strings.Repeat("x", 200)),
		"a rule":      eval[string](tab, "[...document.querySelectorAll('#decisions-table a')].find(a => a.href.includes('throttled')).href"),
		"a key":       eval[string](tab, "document.querySelector('#fullest-table tbody a.act').href"),
	}
}

// Every page can be read in every window and in both colours, and used by keyboard and by ear.
func TestPage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		o    debug.Options
	}{{"with actions", all}, {"to look at", debug.Options{ShowAccounts: true}}} {
		t.Run(test.name, func(t *testing.T) {
			w := usual(t, test.o)
			first := open(t, w.url, view{})
			if !test.o.Actions {
				if n := eval[int](first, "document.querySelectorAll('form[method=post], a.act').length"); n > 0 {
					t.Errorf("%d actions, want none", n)
				}
				return
			}
			for name, address := range w.pages(first) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					tab := open(t, address, view{})
					for _, v := range views {
						t.Run(v.String(), func(t *testing.T) {
							tab.on(t).look(v)
							tab.on(t).await("!document.querySelector('.plot canvas') || document.querySelector('.plot canvas').getBoundingClientRect().right <= innerWidth")
							tab.on(t).readable()
						})
					}
					tab.look(view{})
					if name == "all" || name == "an account" {
						eval[bool](tab, "document.getElementById('refresh').click(), true") // so that nothing moves meanwhile
					}
					if name != "all" { // the account's page has all that is on this one
						tab.tabOrder()
					}
					heard := tab.speech()
					tab.says(heard, "searchbox", "Account")
					tab.says(heard, "button", "Search")
				})
			}
		})
	}
}

// somebody searches an account, and reads why it waits, until when, and what closed it.
func TestPageSearch(t *testing.T) {
	t.Parallel()
	w := usual(t, all)
	tab := open(t, w.url, view{})
	tab.do(chromedp.SendKeys(chromedp.CSS("#account"), "ann@example.org"+kb.Enter))
	tab.await("document.querySelector('#result')")
	text := eval[string](tab, "document.querySelector('#result').innerText")
	for _, want := range []string{"ann@example.org", "Calls are waiting for a limit", "in 30 min", "mail: requests", "throttled", "status 429", "messages.get"} {
		if !strings.Contains(text, want) {
			t.Errorf("the account's part does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "ben@example.org") {
		t.Errorf("the account's part names another one:\n%s", text)
	}
	if got := eval[string](tab, "document.getElementById('account').value"); got != "ann@example.org" {
		t.Errorf("the field has %q, want what was searched", got)
	}
}

// somebody lifts a hold, and the calls that waited go on.
func TestPageLift(t *testing.T) {
	t.Parallel()
	w := usual(t, all)
	tab := open(t, w.url, view{})
	tab.await("document.querySelector('#held-table button')")
	tab.do(chromedp.Click(chromedp.CSS("#held-table button")))
	tab.await("document.querySelector('#done') && document.querySelector('#done').innerText.includes('lifted')")
	tab.await("document.querySelector('#held-table').innerText.includes('Nothing is held')")
	w.until(func() bool {
		s := w.provider.Peek("requests", limiter.Keys{Account: "ann@example.org"})
		return s.Held.IsZero() && s.Waiting == 0
	}, "the limit is open and nothing waits")
	tab.await("document.querySelector('#events-table').innerText.includes('ann@example.org')")
}

// somebody holds a limit for an account.
func TestPageHold(t *testing.T) {
	t.Parallel()
	w := usual(t, all)
	tab := open(t, w.url, view{})
	tab.await("[...document.querySelectorAll('#fullest-table tr')].some(r => r.innerText.includes('cleo@example.org'))")
	eval[bool](tab, "[...document.querySelectorAll('#fullest-table tr')].find(r => r.innerText.includes('cleo@example.org')).querySelector('a.act').click(), true")
	tab.await("document.querySelector('#hold-form')")
	tab.do(chromedp.SetValue(chromedp.CSS("#hold-for"), "30m"), chromedp.Click(chromedp.CSS("#hold-button")))
	tab.await("[...document.querySelectorAll('#held-table tr')].some(r => r.innerText.includes('cleo@example.org') && r.innerText.includes('by hand'))")
	if held := time.Until(w.provider.Peek("requests", limiter.Keys{Account: "cleo@example.org"}).Held); held < 20*time.Minute || held > 30*time.Minute {
		t.Errorf("held for %v, want half an hour", held)
	}
}

// somebody pauses an account: nothing is sent for it any more, until somebody resumes it.
func TestPagePause(t *testing.T) {
	t.Parallel()
	w := usual(t, all)
	tab := open(t, w.url+"?account="+url.QueryEscape("cleo@example.org"), view{})
	tab.do(
		chromedp.SetValue(chromedp.CSS("#pause-for"), "2h"),
		chromedp.SendKeys(chromedp.CSS("#pause-reason"), "too <b>loud</b>"),
		chromedp.Click(chromedp.CSS("#pause-button")),
	)
	tab.await("document.querySelector('#paused')")
	if got := eval[string](tab, "document.querySelector('#paused').innerText"); !strings.Contains(got, "too <b>loud</b>") {
		t.Errorf("the page says %q, want the reason as it was typed", got)
	}
	var later *engine.DeferError
	if err := w.call("cleo@example.org", nil); !errors.As(err, &later) {
		t.Errorf("a call of the paused account: %v, want it handed back", err)
	}
	tab.await("document.querySelector('#count-paused').innerText === '2'")
	tab.do(chromedp.Click(chromedp.CSS("#result form[action=resume] button")))
	tab.await("document.querySelector('#done') && document.querySelector('#done').innerText.includes('resumed') && document.querySelector('#pause-form')")
	if err := w.call("cleo@example.org", nil); err != nil {
		t.Errorf("a call of the resumed account: %v", err)
	}
}

// A decision opens its explanation: the rule, its text, what it read and what follows.
func TestPageExplanation(t *testing.T) {
	t.Parallel()
	w := usual(t, all)
	tab := open(t, w.url, view{})
	tab.do(chromedp.Click(chromedp.CSS("#decisions-table a[href*=throttled]")))
	tab.await("document.querySelector('#rule-text')")
	text := eval[string](tab, "document.querySelector('main').innerText")
	for _, want := range []string{"Rule throttled of mail", "status == 429", "max_wait: 2h", "ann@example.org", "status"} {
		if !strings.Contains(text, want) {
			t.Errorf("the explanation does not say %q:\n%s", want, text)
		}
	}
	tab.do(chromedp.Click(chromedp.CSS("main a[href='./#decisions']")))
	tab.await("document.querySelector('#decisions-table')")
}

// The page refreshes by itself. What somebody is at meanwhile stays as it is: the focus, what
// was typed, how far it is scrolled.
func TestPageRefresh(t *testing.T) {
	t.Parallel()
	w := usual(t, all)
	tab := open(t, w.url, view{width: 1000})
	tab.await("document.querySelector('#held-table button')")
	rows := "document.querySelectorAll('#held-table tbody tr').length"
	for i, test := range []struct{ name, before, kept string }{
		{
			"a field, what is typed, and how far it is scrolled",
			"document.getElementById('account').focus(), document.getElementById('account').value = 'half a na', scrollTo(0, 300), window.y = scrollY, true",
			"document.activeElement.id === 'account' && document.activeElement.value === 'half a na' && scrollY === y && y > 0",
		},
		{
			"a button of a table, and what is marked",
			"window.was = document.querySelector('#held-table button'), was.focus(), getSelection().selectAllChildren(document.getElementById('waits-title')), true",
			"document.activeElement === was && was.isConnected && getSelection().toString() === document.getElementById('waits-title').textContent",
		},
		{"a link of a table", "window.was = document.querySelector('#decisions-table a[href*=throttled]'), was.focus(), true", "document.activeElement === was && was.isConnected"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tab := tab.on(t)
			eval[bool](tab, test.before)
			w.hold(fmt.Sprintf("new-%d@example.org", i))
			tab.await(fmt.Sprintf("%s === %d", rows, i+2))
			if !eval[bool](tab, test.kept) {
				t.Errorf("lost by a refresh; the focus is on %s", ask[focus](tab, "focused()").Name)
			}
		})
	}
	// And it stops when told to.
	tab.do(chromedp.Click(chromedp.CSS("#refresh")))
	tab.await("document.getElementById('refresh').getAttribute('aria-pressed') === 'true'")
}

// Beside each table stands the same as JSON.
func TestPageJSON(t *testing.T) {
	t.Parallel()
	w := usual(t, all)
	tab := open(t, w.url+"?account="+url.QueryEscape("ann@example.org"), view{})
	links := eval[[]string](tab, "[...document.querySelectorAll('a')].filter(a => a.textContent === 'JSON').map(a => a.href)")
	tables := eval[int](tab, "document.querySelectorAll('main section table').length")
	if len(links) < 13 || tables < len(links) {
		t.Errorf("%d links to JSON beside %d tables, want one in each part: %q", len(links), tables, links)
	}
	for _, link := range links {
		resp, err := http.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != "application/json" {
			t.Errorf("%s: status %d, %s, want JSON", link, resp.StatusCode, kind)
		}
		_ = resp.Body.Close()
	}
	if held := eval[string](tab, "fetch('held.json').then(r => r.json()).then(j => JSON.stringify(j))"); !strings.Contains(held, "ann@example.org") {
		t.Errorf("held.json does not name the account: %s", held)
	}
}

// Accounts are pseudonyms unless they may be shown, everywhere on the page; a search by name
// finds them all the same.
func TestPageHidesAccounts(t *testing.T) {
	t.Parallel()
	w := usual(t, debug.Options{Actions: true})
	tab := open(t, w.url, view{})
	tab.await("document.querySelector('#held-table button')")
	if html := eval[string](tab, "document.documentElement.outerHTML"); strings.Contains(html, "example.org") {
		t.Error("the page names an account")
	}
	pseudonym := eval[string](tab, "document.querySelector('#held-table a').innerText")
	tab.do(chromedp.SendKeys(chromedp.CSS("#account"), "ann@example.org"+kb.Enter))
	tab.await("document.querySelector('#result')")
	if got := eval[string](tab, "document.querySelector('#result-title').innerText"); got != "Account "+pseudonym {
		t.Errorf("the search finds %q, want %q", got, "Account "+pseudonym)
	}
}

// Names that hold markup are shown as they are, and do nothing.
func TestPageHostileNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, all)
	names := []string{`<script>document.title='taken'</script>`, `"><img src=x onerror="document.title='taken'">`, `'--></style><b>`, "javascript:alert(1)", strings.Repeat("unbroken", 30)}
	for _, name := range names {
		w.hold(name)
		if err := w.engine.PauseAccount(name+" too", time.Time{}, name); err != nil {
			t.Fatal(err)
		}
	}
	tab := open(t, w.url+"?account="+url.QueryEscape(names[0]), view{width: 400})
	tab.await("document.querySelectorAll('#held-table button').length === 5")
	if title := eval[string](tab, "document.title"); title != "Recourse" {
		t.Errorf("title %q, want %q", title, "Recourse")
	}
	if n := eval[int](tab, "document.querySelectorAll('main img, main script, main b:not(#held-table b, #decisions-table b, .facts b, #account-limits b)').length"); n != 0 {
		t.Errorf("%d elements that names have made", n)
	}
	if got := eval[string](tab, "document.querySelector('#result-title').innerText"); got != "Account "+names[0] {
		t.Errorf("got %q, want %q", got, "Account "+names[0])
	}
	tab.readable()
	tab.speech()
}

// A hundred thousand keys are counted, and no more of them shown than a person can read.
func TestPageManyKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, all)
	for i := range 100_000 {
		if err := w.call(fmt.Sprintf("mailbox-%06d@example.org", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		account := fmt.Sprintf("mailbox-%06d@example.org", i)
		if err := w.provider.Hold("requests", limiter.Keys{Account: account}, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		_ = w.call(account, refused(410, 0))
	}
	tab := open(t, w.url, view{})
	tab.await("document.querySelector('#held-table button')")
	tab.await("Number(document.getElementById('count-keys').innerText.replace(/\\D/g, '')) >= 100000")
	tab.await("document.getElementById('count-held').innerText.replace(/\\D/g, '') === '200'")
	for _, test := range []struct {
		what, expression string
		most             int
	}{
		{"elements", "document.querySelectorAll('*').length", 4000},
		{"rows of a table", "Math.max(...[...document.querySelectorAll('tbody')].map(t => t.rows.length))", 50},
		{"characters", "document.documentElement.outerHTML.length", 300_000},
	} {
		if n := eval[int](tab, test.expression); n > test.most {
			t.Errorf("%d %s, want at most %d", n, test.what, test.most)
		}
	}
	if text := eval[string](tab, "document.querySelector('#held').innerText"); !strings.Contains(text, "150 more are not shown") {
		t.Errorf("the table does not say how many it leaves out:\n…%s", text[max(0, len(text)-200):])
	}
	// It still answers a person: a search, while it refreshes.
	tab.do(chromedp.SendKeys(chromedp.CSS("#account"), "mailbox-000001@example.org"+kb.Enter))
	tab.await("document.querySelector('#answer') && document.querySelector('#answer').innerText.includes('held')")
	tab.readable()
}

// The page says when the engine is closed, and goes on asking no more.
func TestPageClosedEngine(t *testing.T) {
	t.Parallel()
	w := usual(t, all)
	tab := open(t, w.url, view{})
	tab.await("document.getElementById('live').innerText.includes('held')") // it refreshes itself
	_ = w.engine.Close()
	tab.await("document.getElementById('live').innerText.includes('closed')")
}

// A wait shows in the chart, in the table beside it, and in words.
func TestPageChart(t *testing.T) {
	t.Parallel()
	w := usual(t, all)
	tab := open(t, w.url, view{})
	tab.await("document.querySelector('#waits-plot canvas')")
	tab.await("document.querySelector('#waits-table').innerText.includes('mail: requests')")
	if faults := ask[[]string](tab, "blank()"); len(faults) > 0 {
		t.Error(faults)
	}
	heard := tab.speech()
	if !slices.ContainsFunc(heard, func(s spoken) bool { return s.role == "image" && strings.Contains(s.name, "Calls waiting at once") }) {
		t.Error("the chart has no text for a screen reader")
	}
}

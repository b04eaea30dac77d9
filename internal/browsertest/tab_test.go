package browsertest

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for what the browser always does. Only a test that
// fails waits that long.
const patience = time.Minute

// view is how a person looks at a page.
type view struct {
	width int  // of the window, in CSS pixels; 0 = 1000
	dark  bool // prefers dark colours
	scale int  // device pixels for each CSS pixel; 0 = 1
}

// height is that of every window, in CSS pixels.
const height = 900

func (v view) String() string {
	if v.dark {
		return fmt.Sprintf("%d px dark", v.width)
	}
	return fmt.Sprintf("%d px light", v.width)
}

// views are those in which every page has to be readable.
var views = []view{
	{width: 400}, {width: 700}, {width: 1000}, {width: 1600},
	{width: 400, dark: true}, {width: 1600, dark: true},
}

// tab is a page that a test has open.
type tab struct {
	testing.TB
	ctx context.Context

	mu       sync.Mutex
	problems []string
}

// open opens an address in a tab of its own, which the end of the test closes. The test
// fails where the page throws, logs an error or a warning, breaks its content security
// policy or asks for something that it does not get.
func open(tb testing.TB, url string, v view) *tab {
	tb.Helper()
	tab := &tab{TB: tb}
	var closeTab context.CancelFunc
	tab.ctx, closeTab = chromedp.NewContext(running(tb), chromedp.WithNewBrowserContext(), chromedp.WithListener(tab.listen))
	tb.Cleanup(func() {
		closeTab()
		for _, p := range tab.complaints() {
			tb.Errorf("the page at %s: %s", url, p)
		}
	})
	tab.look(v)
	tab.do(chromedp.Navigate(url))
	return tab
}

// on is the tab for a part of the test, which is what fails then.
func (t *tab) on(tb testing.TB) *tab {
	return &tab{TB: tb, ctx: t.ctx}
}

// listen collects what goes wrong in the page.
func (t *tab) listen(event any) {
	var problem string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = "exception: " + e.ExceptionDetails.Text
		if o := e.ExceptionDetails.Exception; o != nil {
			problem += " " + o.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != "error" && e.Type != "warning" && e.Type != "assert" {
			return
		}
		problem = "console." + string(e.Type)
		for _, arg := range e.Args {
			problem += " " + string(arg.Value) + arg.Description
		}
	case *log.EventEntryAdded: // broken policies and failed requests are among them
		if e.Entry.Level != "error" && e.Entry.Level != "warning" {
			return
		}
		problem = string(e.Entry.Source) + ": " + e.Entry.Text + " " + e.Entry.URL
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problems = append(t.problems, problem)
}

// complaints are the problems since it was last called.
func (t *tab) complaints() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	problems := t.problems
	t.problems = nil
	return problems
}

// do runs steps, and fails the test where one fails or takes too long.
func (t *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	// A tab lives as long as the context of the first step, so that has no deadline of its own.
	done := make(chan error, 1)
	go func() { done <- chromedp.Do(t.ctx, steps...) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatalf("not done after %v", patience)
	}
}

// look sets the window's width and the colours.
func (t *tab) look(v view) {
	t.Helper()
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	t.do(
		chromedp.EmulateViewport(int64(cmp.Or(v.width, 1000)), height, chromedp.EmulateScale(float64(cmp.Or(v.scale, 1)))),
		chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			// Tabs are used at the same time; each is to behave as if it were the one in front.
			if _, err := cdp.Call(ctx, target, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
				return err
			}
			_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
			})
			return err
		}),
	)
}

// eval is what a JavaScript expression gives in the page. A policy that forbids evaluating
// text does not forbid this.
func eval[T any](t *tab, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", short(expression), err)
	}
	return value
}

// await waits until a JavaScript condition holds, also over the loading of another page.
func (t *tab) await(condition string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	var last error
	for {
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+condition+")"))
		if err == nil && holds {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			text, _ := chromedp.Run(t.ctx, chromedp.Evaluate[string]("document.body.innerText.slice(0, 3000)"))
			t.Fatalf("not so after %v: %s (%v)\nthe page says:\n%s", patience, condition, last, text)
		}
	}
}

// awaitGo waits until a condition of the test's own process holds; told says what there is instead.
func (t *tab) awaitGo(holds func() bool, told func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %s", patience, told())
		}
	}
}

// press presses a key, such as kb.Tab.
func (t *tab) press(key string) {
	t.Helper()
	t.do(chromedp.KeyEvent(key))
}

// short is the beginning of a text.
func short(text string) string {
	if first, _, cut := strings.Cut(text, "\n"); cut || len(first) > 200 {
		return first[:min(len(first), 200)] + "…"
	}
	return text
}

package browsertest

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

//go:embed look.js
var look string

// ask calls a function of look.js in the page.
func ask[T any](t *tab, call string) T {
	t.Helper()
	return eval[T](t, "("+look+")."+call)
}

// readable holds what must be so of every page in every view: nothing is outside the window,
// no text is cut off or faint, and no chart is blank. 4.5 is WCAG 2.2's least contrast (1.4.3).
func (t *tab) readable() {
	t.Helper()
	for _, check := range []string{"overflowing()", "cut()", "faint(4.5)", "blank()"} {
		for _, fault := range ask[[]string](t, check) {
			t.Errorf("%s: %s", check, fault)
		}
	}
}

// focus is where the keyboard is.
type focus struct {
	Name   string `json:"name"`
	Shown  bool   `json:"shown"`
	Inside bool   `json:"inside"`
}

// tabOrder presses Tab from the top of the page to its end, holds that each control is
// reached and shows it, and returns their names in order.
func (t *tab) tabOrder() []string {
	t.Helper()
	missing := ask[[]string](t, "controls()")
	most := 2*len(missing) + 20
	eval[bool](t, "document.activeElement.blur(), scrollTo(0, 0), true")
	var order []string
	for range most {
		t.press(kb.Tab)
		f := ask[focus](t, "focused()")
		if f.Name == "" || len(order) > 0 && len(missing) == 0 && f.Name == order[0] {
			break
		}
		order = append(order, f.Name)
		if i := slices.Index(missing, f.Name); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		}
		if !f.Shown {
			t.Errorf("the focus on %s cannot be seen", f.Name)
		}
		if !f.Inside {
			t.Errorf("%s has the focus and is outside the window", f.Name)
		}
	}
	if len(missing) > 0 {
		t.Errorf("Tab does not reach %q; it went to %q", missing, order)
	}
	return order
}

// spoken is what a screen reader is told of an element.
type spoken struct{ role, name, description string }

// named are the roles of elements that mean nothing without a name.
var named = []string{
	"button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "listbox", "option", "slider", "spinbutton", "switch", "tab", "menuitem",
	"DisclosureTriangle", "image", "img", "table", "dialog", "region", "navigation", "heading", "Canvas", "columnheader",
}

// speech is all that a screen reader is told of the page. It holds that whatever needs a
// name has one, and that the page has a title, a language, a main part and one first heading.
func (t *tab) speech() []spoken {
	t.Helper()
	var nodes []*accessibility.Node
	t.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		result, err := cdp.Call(ctx, target, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		nodes = result.Nodes
		return err
	}))
	var all []spoken
	for _, n := range nodes {
		if n.Ignored {
			continue
		}
		s := spoken{text(n.Role), text(n.Name), text(n.Description)}
		all = append(all, s)
		if s.name == "" && slices.Contains(named, s.role) {
			t.Errorf("a %s has no name (node %s)", s.role, n.NodeID)
		}
	}
	for _, want := range []struct {
		what, expression string
	}{
		{"a title", "document.title.trim() !== ''"},
		{"a language", "document.documentElement.lang !== ''"},
		{"one main part", "document.querySelectorAll('main').length === 1"},
		{"one first heading", "document.querySelectorAll('h1').length === 1"},
		{"headings that skip no level", "[...document.querySelectorAll('h1, h2, h3, h4')].every((h, i, all) => i === 0 || h.tagName[1] - all[i - 1].tagName[1] <= 1)"},
		{"tables whose columns have headings", "[...document.querySelectorAll('table')].every(t => t.querySelector('th') || t.querySelectorAll('td').length < 2)"},
		{"no id twice", "(ids => new Set(ids).size === ids.length)([...document.querySelectorAll('[id]')].map(e => e.id))"},
	} {
		if !eval[bool](t, want.expression) {
			t.Errorf("the page lacks %s: %s", want.what, want.expression)
		}
	}
	return all
}

// says fails unless a screen reader is told of an element of this role and name.
func (t *tab) says(all []spoken, role, name string) {
	t.Helper()
	if !slices.ContainsFunc(all, func(s spoken) bool { return s.role == role && s.name == name }) {
		var has []string
		for _, s := range all {
			if s.role == role {
				has = append(has, s.name)
			}
		}
		t.Errorf("no %s %q for a screen reader; there are %q", role, name, has)
	}
}

// text is the string that a value of the accessibility tree is.
func text(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var s any
	if err := json.Unmarshal(v.Value, &s); err != nil || s == nil {
		return ""
	}
	return fmt.Sprint(s)
}

package diff

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/recourse-go/recourse/internal/corpus"
)

// These bound the memory of a report, however many cases there are.
const (
	maxGroups     = 5000
	maxExamples   = 3
	maxUnreadable = 20
	maxName       = 80 // bytes of a case's name
)

// Report says which decisions change. It marshals to what `recourse diff --format json` prints.
type Report struct {
	Cases          int          `json:"cases"` // decided by both sets: Same + Changed + Unknown
	Same           int          `json:"same"`
	Changed        int          `json:"changed"`
	Unknown        int          `json:"unknown"`    // cases of the class Uncertain
	Ungrouped      int          `json:"left"`       // cases of Changed and Unknown that are in no group, since there were too many groups
	Failed         int          `json:"failed"`     // lines that could not be read
	Groups         []*Group     `json:"groups"`     // the worst first, after Sort
	Unread         []Unreadable `json:"unreadable"` // the first of Failed
	groupOf        map[key]*Group
	worstUngrouped Class // of the cases of Ungrouped
}

// Group is a set of cases that change in the same way.
type Group struct {
	Class    Class     `json:"class"`
	Harmless bool      `json:"harmless"`
	Cases    int       `json:"cases"`
	Old      Outcome   `json:"old"` // of the first case
	New      Outcome   `json:"new"`
	Because  string    `json:"because"`  // which fact was not recorded; empty unless the class is Uncertain
	Examples []Example `json:"examples"` // the first cases
}

// Example is one case of a group.
type Example struct {
	ID        string `json:"id"`
	File      string `json:"file"`
	Line      int    `json:"line"`
	Operation string `json:"operation"`
	Status    int    `json:"status"`
}

// Unreadable is a line that could not be read.
type Unreadable struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// key identifies a group: the cases of a group agree in all of its fields.
type key struct {
	class                  Class
	policy, newPolicy      string
	oldRule, oldAction, as string
	newRule, newAction, to string
	because                string
}

// NewReport returns an empty report.
func NewReport() *Report {
	return &Report{Groups: []*Group{}, Unread: []Unreadable{}, groupOf: map[key]*Group{}, worstUngrouped: OtherRule + 1}
}

// Read compares the decisions about the cases of r, one a line, and adds them to the
// report. file is the name of r in the report. The error is one of r or ctx.
func (rep *Report) Read(ctx context.Context, c *Comparer, file string, r io.Reader) error {
	return corpus.Lines(ctx, r, func(number int, line []byte, err error) error {
		var k corpus.Case
		if err == nil {
			k, err = corpus.ParseCase(line)
		}
		var ch Change
		changed := false
		if err == nil {
			ch, changed, err = c.Compare(line, &k)
		}
		if err != nil {
			if rep.Failed++; len(rep.Unread) < maxUnreadable {
				rep.Unread = append(rep.Unread, Unreadable{file, number, err.Error()})
			}
			return nil
		}
		rep.Cases++
		if !changed {
			rep.Same++
			return nil
		}
		rep.add(&ch, Example{ID: name(k.ID), File: file, Line: number, Operation: cut(k.Operation), Status: k.Status})
		return nil
	})
}

// name returns a case's ID without its quotes.
func name(id json.RawMessage) string {
	var s string
	if json.Unmarshal(id, &s) != nil {
		s = string(bytes.TrimSpace(id))
	}
	return cut(s)
}

// cut returns a text from outside as valid UTF-8 of at most maxName bytes.
func cut(s string) string {
	if len(s) <= maxName {
		return strings.ToValidUTF8(s, "")
	}
	n := maxName
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func (rep *Report) add(ch *Change, x Example) {
	if ch.Class == Uncertain {
		rep.Unknown++
	} else {
		rep.Changed++
	}
	k := key{
		ch.Class, ch.Old.Policy, ch.New.Policy, ch.Old.Rule, ch.Old.Action, ch.Old.As, ch.New.Rule, ch.New.Action, ch.New.As, ch.Because,
	}
	g := rep.groupOf[k]
	if g == nil {
		if len(rep.groupOf) >= maxGroups {
			rep.Ungrouped++
			rep.worstUngrouped = min(rep.worstUngrouped, ch.Class)
			return
		}
		g = &Group{Class: ch.Class, Harmless: ch.Class.Harmless(), Old: ch.Old, New: ch.New, Because: ch.Because, Examples: []Example{}}
		rep.groupOf[k] = g
		rep.Groups = append(rep.Groups, g)
	}
	g.Cases++
	if len(g.Examples) < maxExamples {
		g.Examples = append(g.Examples, x)
	}
}

// Sort sorts the groups: the worst class first, and within a class the largest group.
func (rep *Report) Sort() {
	slices.SortStableFunc(rep.Groups, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(b.Cases, a.Cases), cmp.Compare(a.Old.Policy, b.Old.Policy),
			cmp.Compare(a.New.Rule, b.New.Rule), cmp.Compare(a.Old.Rule, b.Old.Rule))
	})
}

// Has reports whether there is a change of that class or a worse one.
func (rep *Report) Has(c Class) bool {
	return rep.worstUngrouped <= c || slices.ContainsFunc(rep.Groups, func(g *Group) bool { return g.Class <= c })
}

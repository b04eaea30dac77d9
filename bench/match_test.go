package bench

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

var packs = []string{"nylas_v3", "gmail", "microsoft_graph"}

var sizes = []int{10, 100, 1000, 10000}

// sink keeps the compiler from dropping what is measured.
var sink int

func BenchmarkMatch(b *testing.B)       { benchmarkMatch(b, (*rules.Set).Match) }
func BenchmarkMatchLinear(b *testing.B) { benchmarkMatch(b, (*rules.Set).MatchLinear) }

func benchmarkMatch(b *testing.B, match func(*rules.Set, *rules.Event) int) {
	run := func(name string, s set) {
		b.Run(name, func(b *testing.B) {
			match(s.Set, s.events[0]) // MatchLinear compiles its programs when first asked
			b.ReportAllocs()
			for i := 0; b.Loop(); {
				sink += match(s.Set, s.events[i])
				if i++; i == len(s.events) {
					i = 0
				}
			}
		})
	}
	for _, name := range packs {
		run("pack="+name, packSet(b, name))
	}
	for _, n := range sizes {
		run(fmt.Sprintf("rules=%d", n), manySet(b, n))
	}
	run("residual", residualSet(b))
	b.Run("residual_bare", func(b *testing.B) {
		re, message := regexp.MustCompile(residualPattern), residualSet(b).events[0].Message
		b.ReportAllocs()
		for b.Loop() {
			if strings.Contains(message, residualText) && re.MatchString(message) {
				sink++
			}
		}
	})
}

// TestMatchDoesNotAllocate holds for every built-in pack and for sets of any size.
func TestMatchDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool, which regexp uses, forget at random")
	}
	sets := map[string]set{"rules=1000": manySet(t, 1000), "residual": residualSet(t)}
	var events []*rules.Event
	for _, name := range packs {
		events = append(events, packSet(t, name).events...)
	}
	for _, p := range policy.Builtin().Policies() {
		sets["pack="+p.Name] = set{p.Matcher, events}
	}
	for name, s := range sets {
		t.Run(name, func(t *testing.T) {
			for _, e := range s.events {
				if n := testing.AllocsPerRun(20, func() { sink += s.Match(e) }); n != 0 {
					t.Errorf("Match of %d %q allocates %v times, want 0", e.Status, e.Type, n)
				}
			}
		})
	}
}

// TestMemoryOfSet bounds what 10,000 rules take once they are compiled.
func TestMemoryOfSet(t *testing.T) {
	const most = 20 << 20
	all := manyRules(10000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, err := rules.Compile(all, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	took := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("10,000 rules take %.1f MB", float64(took)/1e6)
	if took > most {
		t.Errorf("10,000 rules take %d bytes, want at most %d", took, most)
	}
	runtime.KeepAlive(s)
	runtime.KeepAlive(all)
}

func BenchmarkExplain(b *testing.B) {
	for _, name := range packs {
		b.Run("pack="+name, func(b *testing.B) {
			s := packSet(b, name)
			b.ReportAllocs()
			for i := 0; b.Loop(); {
				sink += len(s.Explain(s.events[i]))
				if i++; i == len(s.events) {
					i = 0
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	run := func(name string, all []rules.Rule, o rules.Options) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rules.Compile(all, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	p, _ := policy.Builtin().Policy("nylas_v3")
	all, options := packRules(p)
	run("pack=nylas_v3", all, options)
	run("rules=1000", manyRules(1000), rules.Options{})
}

// packRules gives a policy's conditions back as Compile takes them.
func packRules(p *policy.Policy) ([]rules.Rule, rules.Options) {
	var all []rules.Rule
	for _, r := range p.Rules[:len(p.Rules)-1] {
		all = append(all, rules.Rule{Name: r.Name, When: r.When})
	}
	var o rules.Options
	for _, f := range p.Extract.Facts {
		o.Facts = append(o.Facts, f.Name)
	}
	return all, o
}

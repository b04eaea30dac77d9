package limiter

import (
	"fmt"
	"math"
	"testing"
)

// parked is a queue in which so many units wait, by account, in the order of the
// accounts' names.
func parked(shared bool, share float64, interactive, backfill map[string]int64) *queue {
	q := &queue{shared: shared, share: share}
	seq := uint64(0)
	for prio, units := range []map[string]int64{Interactive: interactive, Backfill: backfill} {
		for a := 'a'; a <= 'z'; a++ {
			if n := units[string(a)]; n > 0 {
				seq++
				calls := &likeCalls{prio: Priority(prio), account: string(a), units: []int64{n}}
				calls.head = &waiter{calls: calls, seq: seq, refs: []ref{{cost: n}}}
				q.park(calls, 0)
			}
		}
	}
	return q
}

// What backfill is owed grows by its share of what passes while it waits, and
// shrinks by what it gets.
func TestBackfillCredit(t *testing.T) {
	type pass struct {
		prio Priority
		cost int64
	}
	i, b := func(n int64) pass { return pass{Interactive, n} }, func(n int64) pass { return pass{Backfill, n} }
	for _, tt := range []struct {
		name   string
		share  float64
		waits  int64 // backfill's units that wait; 0 = it does not
		passes []pass
		want   float64
	}{
		{"a tenth", 0.1, 100, []pass{i(9)}, 1},
		{"a tenth of several", 0.1, 100, []pass{i(9), i(18), i(4)}, 31.0 / 9},
		{"a half", 0.5, 100, []pass{i(7)}, 7},
		{"a quarter", 0.25, 100, []pass{i(6)}, 2},
		{"what costs nothing counts as one", 0.5, 100, []pass{i(0)}, 1},
		{"nobody waits", 0.5, 0, []pass{i(7)}, 0},
		{"no more once it is due", 0.5, 3, []pass{i(2), i(2), i(50)}, 4},
		{"paid", 0.5, 100, []pass{i(7), b(3)}, 4},
		{"never below none", 0.5, 100, []pass{i(2), b(30)}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := parked(false, tt.share, nil, map[string]int64{"a": tt.waits})
			for _, p := range tt.passes {
				q.served(p.prio, "b", p.cost)
			}
			if math.Abs(q.credit-tt.want) > 1e-9 {
				t.Errorf("owed %v after %v, want %v", q.credit, tt.passes, tt.want)
			}
		})
	}
}

// What goes before a call that comes now: of its own account and class all, of
// others what is their turn until then, and for backfill all that is interactive.
func TestUnitsBefore(t *testing.T) {
	type units = map[string]int64
	many := units{}
	for a := 'a'; a <= 'z'; a++ {
		many[string(a)] = 2
	}
	for _, tt := range []struct {
		name                  string
		shared                bool
		interactive, backfill units
		served                units // of interactive calls, before
		prio                  Priority
		account               string
		want                  int64
	}{
		{"nobody waits", false, nil, nil, nil, Interactive, "a", 0},
		{"one account", false, units{"a": 5}, nil, nil, Interactive, "a", 5},
		{"backfill is passed", false, units{"a": 5}, units{"a": 7}, nil, Interactive, "a", 5},
		{"backfill waits for all", false, units{"a": 5}, units{"a": 7}, nil, Backfill, "a", 12},
		{"shared: backfill waits for all", true, units{"a": 5, "b": 3}, units{"c": 7}, nil, Backfill, "c", 15},
		{"shared: nobody of its class", true, units{"a": 5}, nil, nil, Backfill, "a", 5},
		{"shared: the first of its account", true, units{"a": 5, "b": 3}, nil, nil, Interactive, "c", 2},
		{"shared: behind its own", true, units{"a": 5, "b": 3}, nil, nil, Interactive, "b", 3 + 4},
		{"shared: behind more of its own", true, units{"a": 5, "b": 9}, nil, nil, Interactive, "b", 9 + 5},
		{"shared: it has had some", true, units{"a": 5, "b": 3}, nil, units{"c": 2}, Interactive, "c", 3 + 3},
		{"shared: others have had some", true, units{"a": 5, "b": 3}, nil, units{"a": 2}, Interactive, "c", 0 + 1},
		{"shared: many", true, many, nil, nil, Interactive, "z", 2 + 25*2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := parked(tt.shared, 0.1, tt.interactive, tt.backfill)
			for a := 'a'; a <= 'z'; a++ {
				if n := tt.served[string(a)]; n > 0 {
					q.served(Interactive, string(a), n)
				}
			}
			if got := q.before(tt.prio, tt.account); got != tt.want {
				t.Errorf("%d units before a call of %q, want %d", got, tt.account, tt.want)
			}
		})
	}
}

// Where very many accounts wait, what goes before a call is bounded instead of
// counted: never less than its own, never more than all.
func TestUnitsBeforeOfMany(t *testing.T) {
	q := &queue{shared: true, share: 0.1}
	for i := range 100 {
		calls := &likeCalls{account: fmt.Sprint(i), units: []int64{4}}
		calls.head = &waiter{calls: calls, seq: uint64(i), refs: []ref{{cost: 4}}}
		q.park(calls, 0)
	}
	q.classes[Interactive].v = 3 // all have had that much before
	for i := range q.classes[Interactive].flows {
		q.classes[Interactive].flows[i].tag = 3
	}
	for account, want := range map[string]int64{"new": 100, "7": 4 + 396} {
		if got := q.before(Interactive, account); got != want {
			t.Errorf("%d units before a call of %q, want %d", got, account, want)
		}
	}
}

// Of calls that are served equally, whoever came first goes first, wherever it waits.
func TestAheadByArrival(t *testing.T) {
	for _, shared := range []bool{false, true} {
		q := parked(shared, 0.1, map[string]int64{"a": 3}, nil)
		q.classes[Interactive].next().head.seq = 5
		for _, c := range []struct {
			seq  uint64
			want bool
		}{{4, false}, {6, true}} {
			other := &likeCalls{account: "b", head: &waiter{seq: c.seq}}
			if got := q.ahead(Interactive, "b", 1, other); got != c.want {
				t.Errorf("shared %v: the fifth call goes before call %d: %v, want %v", shared, c.seq, got, c.want)
			}
		}
	}
}

// An account that comes while others wait begins where these are: it neither goes
// first for having used nothing before, nor last.
func TestServedBegins(t *testing.T) {
	q := parked(true, 0.1, map[string]int64{"a": 3}, nil)
	c := &q.classes[Interactive]
	c.v = 10
	q.served(Interactive, "b", 4)
	if f := c.accounts["b"]; f.tag != 14 || c.v != 10 {
		t.Errorf("served next at %v of %v, want 14 of 10", f.tag, c.v)
	}
}

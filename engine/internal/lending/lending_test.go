package lending

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// What an attempt holds is lent inside it, and by no context that outlives it.
func TestFrom(t *testing.T) {
	l, err := limiter.New([]limiter.Limit{{Name: "slots", Key: []limiter.Dimension{limiter.Account}, Concurrency: 1}}, limiter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	request := &limiter.Request{Keys: limiter.Keys{Account: "a@x"}, Uses: []limiter.Use{{Limit: "slots", Cost: 1}}}
	take := func() limiter.Permit {
		t.Helper()
		permit, err := l.Acquire(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		return permit
	}
	lends := func(loan *limiter.Loan) bool {
		inner := *request
		inner.Inside = loan
		permit, ok := l.TryAcquire(&inner)
		if ok {
			permit.Release()
		}
		return ok
	}
	if From(t.Context()) != nil {
		t.Error("a context of no attempt lends")
	}
	permit := take()
	ctx, lender := Attempt(t.Context(), permit)
	if !lends(From(ctx)) {
		t.Error("an attempt does not lend what it holds")
	}
	permit.Release()
	lender.Over()

	permit = take()
	if lends(From(ctx)) {
		t.Error("a context of an earlier attempt lends what a later one holds")
	}
	ctx = UntilReleased(t.Context(), permit)
	if !lends(From(ctx)) {
		t.Error("a round trip does not lend what it holds")
	}
	permit.Release()
	permit = take()
	defer permit.Release()
	if lends(From(ctx)) {
		t.Error("a released permit lends")
	}
}

// wide is a context that cannot be compared.
type wide struct {
	context.Context
	_ []int
}

// Each context is its parent for all but what is lent, whichever others have the same one,
// and lends only during its own attempt.
func TestAttempts(t *testing.T) {
	l, err := limiter.New([]limiter.Limit{{Name: "slots", Key: []limiter.Dimension{limiter.Account}, Concurrency: 1}}, limiter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	type key struct{}
	canceled, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "canceled"))
	cancel()
	deadline, stop := context.WithTimeout(context.WithValue(t.Context(), key{}, "deadline"), time.Hour)
	defer stop()
	parents := []context.Context{
		context.Background(), context.TODO(), canceled, deadline, context.WithValue(t.Context(), key{}, "value"), wide{Context: deadline},
	}
	request := &limiter.Request{Keys: limiter.Keys{Account: "a@x"}, Uses: []limiter.Use{{Limit: "slots", Cost: 1}}}
	inside := func(ctx context.Context) bool {
		inner := *request
		inner.Inside = From(ctx)
		permit, ok := l.TryAcquire(&inner)
		permit.Release()
		return ok
	}
	var kept []context.Context
	seen := map[context.Context]bool{}
	for i := range 3000 {
		parent := parents[i/7%len(parents)]
		if i > 2000 {
			parent = parents[0]
		}
		permit, ok := l.TryAcquire(request)
		if !ok {
			t.Fatal("the slot is taken")
		}
		ctx, lender := Attempt(parent, permit)
		if seen[ctx] {
			t.Fatalf("attempt %d has the context of another", i)
		}
		seen[ctx] = true
		if !inside(ctx) {
			t.Fatalf("attempt %d lends nothing", i)
		}
		for _, k := range kept[max(0, len(kept)-20):] {
			if inside(k) {
				t.Fatalf("a context from before attempt %d lends what that holds", i)
			}
		}
		at, has := ctx.Deadline()
		wantAt, wantHas := parent.Deadline()
		if ctx.Err() != parent.Err() || ctx.Done() != parent.Done() || at != wantAt || has != wantHas || ctx.Value(key{}) != parent.Value(key{}) {
			t.Fatalf("attempt %d: the context is not as its parent, %v", i, parent)
		}
		kept = append(kept, ctx)
		permit.Release()
		lender.Over()
		if i%500 == 0 {
			runtime.GC() // what a kept context needs stays
		}
	}
	for i, ctx := range kept[:2000] {
		if want := parents[i/7%len(parents)]; ctx.Value(key{}) != want.Value(key{}) || ctx.Err() != want.Err() {
			t.Fatalf("kept context %d is not as its parent", i)
		}
	}
}

// With one parent after the other the same a call allocates nothing that counts, and with
// a parent of its own no more than a small object.
func TestAllocs(t *testing.T) {
	call := func(ctx context.Context) {
		_, lender := Attempt(ctx, limiter.Permit{})
		lender.Over()
	}
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() { call(ctx) }); n != 0 {
		t.Errorf("%v allocations for attempts with one parent, want 0", n)
	}
	if n := testing.AllocsPerRun(1000, func() { call(context.WithoutCancel(ctx)) }); n > 2 {
		t.Errorf("%v allocations for an attempt with its own parent, want 2", n)
	}
}

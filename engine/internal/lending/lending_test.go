package lending

import (
	"testing"

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

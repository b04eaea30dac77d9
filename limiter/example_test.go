package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

func Example() {
	l, err := limiter.New([]limiter.Limit{
		{Name: "user", Key: []limiter.Dimension{limiter.Account}, Rate: 250, Burst: 250},
		{Name: "project", Key: []limiter.Dimension{limiter.App}, Quota: 1_200_000, Window: time.Minute},
		{Name: "inflight", Key: []limiter.Dimension{limiter.Account}, Concurrency: 10},
	}, limiter.Options{})
	if err != nil {
		log.Fatal(err)
	}
	permit, err := l.Acquire(context.Background(), &limiter.Request{
		Keys: limiter.Keys{Account: "ann@example.com", App: "sync"},
		Uses: []limiter.Use{{Limit: "user", Cost: 5}, {Limit: "project", Cost: 5}, {Limit: "inflight"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer permit.Release()
	fmt.Println("messages.get may be called now")
	// Output: messages.get may be called now
}

// A provider refuses a call and names a time: everyone on the account waits.
func ExampleLimiter_HoldAt() {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	l, err := limiter.New([]limiter.Limit{
		{Name: "user", Key: []limiter.Dimension{limiter.Account}, Rate: 10, Burst: 10},
	}, limiter.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ann := limiter.Keys{Account: "ann@example.com"}
	l.HoldAt(now, "user", ann, now.Add(15*time.Minute))

	_, wait, ok := l.TryAcquireAt(now, &limiter.Request{Keys: ann, Uses: []limiter.Use{{Limit: "user", Cost: 1}}})
	fmt.Println(ok, wait)
	// Output: false 15m0.1s
}

// A call that would wait longer than it may is told at once, and when to come back.
func ExampleWaitError() {
	l, err := limiter.New([]limiter.Limit{{Name: "sending"}}, limiter.Options{})
	if err != nil {
		log.Fatal(err)
	}
	l.Hold("sending", limiter.Keys{}, time.Now().Add(time.Hour))
	_, err = l.Acquire(context.Background(), &limiter.Request{Uses: []limiter.Use{{Limit: "sending"}}, MaxWait: time.Minute})
	var wait *limiter.WaitError
	if errors.As(err, &wait) {
		fmt.Println("limit", wait.Limit, "in", time.Until(wait.Until).Round(time.Minute))
	}
	// Output: limit sending in 1h0m0s
}

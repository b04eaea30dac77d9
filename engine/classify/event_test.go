package classify_test

import "github.com/recourse-go/recourse/rules"

func newEvent() *rules.Event { return &rules.Event{} }

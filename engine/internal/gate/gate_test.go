package gate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWait(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(g *Gate)
		cancel bool
		late   bool
		took   time.Duration
	}{
		{name: "open", before: func(*Gate) {}},
		{name: "opened again before", before: func(g *Gate) { g.Close(); g.Open() }},
		{name: "opened meanwhile", before: func(g *Gate) { g.Close(); time.AfterFunc(time.Millisecond, g.Open) }, late: true, took: time.Millisecond},
		{name: "the second one decides longer", before: func(g *Gate) {
			g.Close()
			g.Close()
			time.AfterFunc(time.Millisecond, g.Open)
			time.AfterFunc(3*time.Millisecond, g.Open)
		}, late: true, took: 3 * time.Millisecond},
		{name: "never opened", before: (*Gate).Close, late: true, took: maxClosed},
		{name: "the caller gives up", before: (*Gate).Close, cancel: true, late: true, took: 2 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var gates Gates
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				g := gates.Of("a@x")
				tt.before(g)
				if tt.cancel {
					time.AfterFunc(2*time.Millisecond, cancel)
				}
				began := time.Now()
				late := gates.Of("a@x").Wait(ctx, nil)
				if took := time.Since(began); late != tt.late || took != tt.took {
					t.Errorf("waited %t for %v, want %t for %v", late, took, tt.late, tt.took)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

func TestClosed(t *testing.T) {
	var gates Gates
	if n := gates.Closed(); n != 0 {
		t.Errorf("%d closed before any was made", n)
	}
	gates.Of("a@x").Close()
	gates.Of("b@x").Close()
	if n := gates.Closed(); n != 2 {
		t.Errorf("%d closed, want 2", n)
	}
	gates.Of("a@x").Open()
	gates.Of("b@x").Open()
	if n := gates.Closed(); n != 0 {
		t.Errorf("%d closed at the end", n)
	}
}

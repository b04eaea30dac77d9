package main

import (
	"net"
	"testing"
)

// Where no server listens, the command says so instead of starting workers that would be
// told to wait.
func TestReach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for _, tt := range []struct{ name, redis, postgres string }{
		{name: "redis", redis: addr},
		{name: "postgres", postgres: "postgres://" + addr + "/recourse"},
		{name: "not an address", redis: "redis://%"},
		{name: "not a URL", postgres: "postgres://%"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := reach(t.Context(), tt.redis, tt.postgres); err == nil {
				t.Errorf("reach(%q, %q): no error", tt.redis, tt.postgres)
			}
		})
	}
}

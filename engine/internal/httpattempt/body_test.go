package httpattempt

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

type halfConn struct{ io.ReadWriteCloser }

func (halfConn) CloseWrite() error { return nil }

func TestUpgradedKeepsCloseWrite(t *testing.T) {
	ctx, timer := Start(t.Context(), time.Hour)
	client, server := net.Pipe()
	defer server.Close()
	c := Upgraded(halfConn{client}, timer)
	if _, ok := c.(closeWriter); !ok {
		t.Errorf("%T has lost CloseWrite", c)
	}
	c.Close()
	if ctx.Err() == nil {
		t.Error("closing the connection does not end the attempt")
	}
}

// A timer that has ended is not started again by whoever reads on.
func TestBodyReadAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, timer := Start(t.Context(), time.Second)
		body := Guard(io.NopCloser(strings.NewReader("whole")), limiter.Permit{}, timer, false)
		body.HandOver(t.Context(), nil, nil)
		body.Close()
		io.ReadAll(body)
		time.Sleep(time.Hour)
		if timer.Fired() || context.Cause(ctx) != context.Canceled {
			t.Errorf("a timer ran on after the body was closed: cause %v", context.Cause(ctx))
		}
	})
}

package engine_test

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
)

// The server of the example serves each message once and sees no more items
// than these and the refused ones, also with a Transport inside Do.
func TestBatchItemsAreSentOnce(t *testing.T) {
	for _, by := range []string{"Do", "Do around Transport"} {
		t.Run(by, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				eng, err := engine.New(engine.Options{})
				if err != nil {
					t.Fatal(err)
				}
				server := &graph{}
				client := &http.Client{Transport: server}
				if by != "Do" {
					client.Transport = eng.Transport(server)
				}
				ids := make([]string, 100)
				for i := range ids {
					ids[i] = strconv.Itoa(i)
				}
				start := time.Now()
				for some := range slices.Chunk(ids, 20) {
					if err := getMessages(t.Context(), eng, client, "ann", some); err != nil {
						t.Fatal(err)
					}
				}
				for _, id := range ids {
					if server.served[id] != 1 {
						t.Errorf("message %s was served %d times", id, server.served[id])
					}
				}
				if server.items != 100+server.refused || server.batches != 10 || time.Since(start) < 10*time.Second {
					t.Errorf("%d items in %d batches, of which %d were refused, in %v; want 100 and the refused ones in 10, and 2 s waited five times",
						server.items, server.batches, server.refused, time.Since(start))
				}
			})
		})
	}
}

// Where nobody decides about the items, Do decides about the batch as a whole.
func TestBatchThatNobodyDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng, err := engine.New(engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		server := &graph{}
		client := &http.Client{Transport: server}
		err = eng.Do(t.Context(), engine.Call{Provider: "microsoft_graph", Keys: limiter.Keys{Account: "ann", Operation: "$batch"}, Method: "POST"}, func(ctx context.Context) error {
			resp, err := postBatch(ctx, client, "ann", []string{"1", "2", "3"})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return eng.CheckResponse(ctx, resp)
		})
		if err != nil || server.batches != 2 || server.items != 6 {
			t.Errorf("got %v after %d batches of %d items, want the whole batch twice", err, server.batches, server.items)
		}
	})
}

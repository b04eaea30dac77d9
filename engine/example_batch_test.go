package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/limiter"
)

// One hundred messages by Microsoft Graph's $batch, twenty at a time: what was
// refused goes into a batch of its own, after the time that the server asked for,
// and nothing that succeeded is asked for twice.
func ExampleProvider_DecideBatch_insideDo() {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: &graph{}} // or around eng.Transport(nil)
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	for some := range slices.Chunk(ids, 20) {
		if err := getMessages(context.Background(), eng, client, "ann@example.com", some); err != nil {
			log.Fatal(err)
		}
	}
}

// getMessages gets messages by $batch until none is refused any more.
func getMessages(ctx context.Context, eng *engine.Engine, client *http.Client, account string, ids []string) error {
	graph, err := eng.Provider("microsoft_graph")
	if err != nil {
		return err
	}
	var states []engine.State
	call := engine.Call{Keys: limiter.Keys{Account: account, Operation: "$batch"}, Method: "POST", N: len(ids)}
	return graph.Do(ctx, call, func(ctx context.Context) error {
		began := time.Now()
		requests := make([]classify.BatchRequest, len(ids))
		for i, id := range ids {
			requests[i] = classify.BatchRequest{ID: id, Operation: "messages.get", Method: "GET"}
		}
		resp, err := postBatch(ctx, client, account, ids)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := graph.CheckResponse(ctx, resp); err != nil {
			return err // the batch itself was refused
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		// The error says that answers are missing. Each of these is decided as a lost reply.
		items, _ := classify.Batch(graph.Policy(), &classify.Response{
			Status: resp.StatusCode, Header: resp.Header, Body: body, Now: time.Now(),
		}, requests)
		d := graph.DecideBatch(ctx, call, began, items, states)
		var again []string
		states = nil
		for _, i := range d.Again {
			again = append(again, ids[i])
			states = append(states, d.Items[i].State)
		}
		if ids = again; len(ids) > 0 {
			return engine.RetryAfter(d.Delay, errors.New("some of the batch were refused"))
		}
		return nil
	})
}

// postBatch sends one batch.
func postBatch(ctx context.Context, client *http.Client, account string, ids []string) (*http.Response, error) {
	type request struct {
		ID     string `json:"id"`
		Method string `json:"method"`
		URL    string `json:"url"`
	}
	var batch struct {
		Requests []request `json:"requests"`
	}
	for _, id := range ids {
		batch.Requests = append(batch.Requests, request{id, "GET", "/me/messages/" + id})
	}
	body, err := json.Marshal(batch)
	if err != nil {
		return nil, err
	}
	ctx = engine.WithCall(ctx, engine.Call{Keys: limiter.Keys{Account: account}, N: len(ids)}) // for a Transport below
	req, err := http.NewRequestWithContext(ctx, "POST", "https://graph.microsoft.com/v1.0/$batch", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return client.Do(req)
}

// graph is a server that refuses every third message when it is first asked for.
type graph struct {
	mu      sync.Mutex
	asked   map[string]int
	items   int // in all batches
	refused int
	served  map[string]int
	batches int
}

// RoundTrip answers a batch.
func (g *graph) RoundTrip(req *http.Request) (*http.Response, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked == nil {
		g.asked, g.served = map[string]int{}, map[string]int{}
	}
	var batch struct{ Requests []struct{ ID string } }
	err := json.NewDecoder(req.Body).Decode(&batch)
	req.Body.Close()
	if err != nil {
		return nil, err
	}
	g.batches++
	var answers []string
	for _, r := range batch.Requests {
		g.items++
		g.asked[r.ID]++
		if n, _ := strconv.Atoi(r.ID); n%3 == 0 && g.asked[r.ID] == 1 {
			g.refused++
			answers = append(answers, fmt.Sprintf(`{"id":%q,"status":429,"headers":{"Retry-After":"2"},"body":{"error":{"code":"ApplicationThrottled"}}}`, r.ID))
			continue
		}
		g.served[r.ID]++
		answers = append(answers, fmt.Sprintf(`{"id":%q,"status":200,"body":{"id":%q}}`, r.ID, r.ID))
	}
	body := []byte(`{"responses":[`)
	for i, a := range answers {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, a...)
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(bytes.NewReader(append(body, `]}`...))),
	}, nil
}

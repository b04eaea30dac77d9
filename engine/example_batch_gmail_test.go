package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// fetch is a job that gets messages of a mailbox by batches. It is stored as it is when it is handed back.
type fetch struct {
	Left   []string          // the messages to ask for
	States []engine.State    // what each of them has used up; nil = nothing
	State  engine.State      // what the job has used up
	Failed map[string]string // the label of each that cannot be got
}

// run sends batches until nothing is left. What was refused goes into the next batch by
// itself, and what has come is not asked for again.
func (f *fetch) run(ctx context.Context, gmail *engine.Provider, client *http.Client, mailbox string) error {
	call := engine.Call{
		Keys:   limiter.Keys{Account: mailbox, Operation: "batch"},
		Method: "POST",
		N:      len(f.Left), // a batch costs what its requests cost
		State:  f.State,
	}
	err := gmail.Do(ctx, call, func(ctx context.Context) error {
		began := time.Now()
		requests := make([]classify.BatchRequest, len(f.Left))
		for i, id := range f.Left {
			requests[i] = classify.BatchRequest{ID: id, Operation: "messages.get", Method: "GET"}
		}
		answer, err := sendBatch(ctx, gmail, client, mailbox, requests)
		if err != nil {
			return err
		}
		// The error says that answers are missing. Each of these is decided as a lost reply.
		items, _ := classify.Batch(gmail.Policy(), answer, requests)
		d := gmail.DecideBatch(ctx, call, began, items, f.States)
		again, states := []string(nil), []engine.State(nil)
		for i, item := range d.Items {
			switch {
			case slices.Contains(d.Again, i):
				again, states = append(again, f.Left[i]), append(states, item.State)
			case item.Action == policy.Fail:
				f.Failed[f.Left[i]] = item.As
			default:
				// It is in the answer: store it.
			}
		}
		f.Left, f.States = again, states
		if len(again) > 0 {
			return engine.RetryAfter(d.Delay, errors.New("some requests of the batch were refused"))
		}
		return nil
	})
	if later, ok := errors.AsType[*engine.DeferError](err); ok {
		f.State = later.State
	}
	return err
}

// sendBatch sends a batch, and reads the answer to it.
func sendBatch(ctx context.Context, gmail *engine.Provider, client *http.Client, mailbox string, requests []classify.BatchRequest) (*classify.Response, error) {
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	for _, r := range requests {
		part, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/http"}, "Content-Id": {"<" + r.ID + ">"}})
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(part, "GET /gmail/v1/users/me/messages/%s HTTP/1.1\r\n\r\n", r.ID)
	}
	if err := parts.Close(); err != nil {
		return nil, err
	}
	ctx = engine.WithCall(ctx, engine.Call{Keys: limiter.Keys{Account: mailbox}, N: len(requests)})
	req, err := http.NewRequestWithContext(ctx, "POST", "https://gmail.googleapis.com/batch/gmail/v1", &body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "multipart/mixed; boundary="+parts.Boundary())
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := gmail.CheckResponse(ctx, resp); err != nil {
		return nil, err // the batch as a whole was refused
	}
	all, err := io.ReadAll(io.LimitReader(resp.Body, classify.MaxBatch))
	if err != nil {
		return nil, err
	}
	return &classify.Response{Status: resp.StatusCode, Header: resp.Header, Body: all, Now: time.Now()}, nil
}

// Three messages by Gmail's batch: one comes, one is refused for ten minutes, one is not there.
func ExampleProvider_DecideBatch_gmail() {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	gmail, err := eng.Provider("gmail")
	if err != nil {
		log.Fatal(err)
	}
	server := &batches{status: map[string][]string{"m2": {"429 Too Many Requests"}, "m3": {"404 Not Found"}}, wait: "600"}
	client := &http.Client{Transport: eng.Transport(server)}
	job := fetch{Left: []string{"m1", "m2", "m3"}, Failed: map[string]string{}}
	err = job.run(context.Background(), gmail, client, "ann@example.com")
	if later, ok := errors.AsType[*engine.DeferError](err); ok {
		fmt.Println("left:", job.Left, "failed:", job.Failed, "again in about", time.Until(later.Until).Truncate(time.Minute))
	}
	// Output: left: [m2] failed: map[m3:gone] again in about 10m0s
}

// What is asked for again is what was refused, and what there was no answer for.
func TestFetchByBatch(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status map[string][]string
		want   string // what was asked for, batch by batch
	}{
		{"all come", nil, "[[m1 m2 m3]]"},
		{"one is refused", map[string][]string{"m2": {"429 Too Many Requests"}}, "[[m1 m2 m3] [m2]]"},
		{"two are refused, one of them twice", map[string][]string{"m1": {"503 x"}, "m3": {"429 x", "429 x"}}, "[[m1 m2 m3] [m1 m3] [m3]]"},
		{"an answer is missing", map[string][]string{"m2": {""}}, "[[m1 m2 m3] [m2]]"},
		{"all are missing", map[string][]string{"m1": {""}, "m2": {""}, "m3": {""}}, "[[m1 m2 m3] [m1 m2 m3]]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				eng, err := engine.New(engine.Options{})
				if err != nil {
					t.Fatal(err)
				}
				gmail, err := eng.Provider("gmail")
				if err != nil {
					t.Fatal(err)
				}
				server := &batches{status: tt.status, wait: "1"}
				job := fetch{Left: []string{"m1", "m2", "m3"}, Failed: map[string]string{}}
				err = job.run(t.Context(), gmail, &http.Client{Transport: eng.Transport(server)}, "ann@example.com")
				if got := fmt.Sprint(server.asked); err != nil || got != tt.want || len(job.Left) > 0 || len(job.Failed) > 0 {
					t.Errorf("asked for %s, left %v, failed %v, error %v; want %s and nothing else", got, job.Left, job.Failed, err, tt.want)
				}
			})
		})
	}
}

// batches answers batches: each message with its next status, and 200 when there is none left.
type batches struct {
	status map[string][]string // "" = no answer
	wait   string
	asked  [][]string
}

func (b *batches) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil {
		return nil, err
	}
	var answer strings.Builder
	var ids []string
	for _, m := range regexp.MustCompile(`GET \S+/messages/(\S+)`).FindAllSubmatch(body, -1) {
		id, status, header := string(m[1]), "200 OK", ""
		ids = append(ids, id)
		if next := b.status[id]; len(next) > 0 {
			status, b.status[id], header = next[0], next[1:], "Retry-After: "+b.wait+"\r\n"
		}
		if status == "" {
			continue
		}
		fmt.Fprintf(&answer, "--b\r\nContent-Type: application/http\r\nContent-ID: <response-%s>\r\n\r\nHTTP/1.1 %s\r\nContent-Type: application/json\r\n%s\r\n{}\r\n", id, status, header)
	}
	b.asked = append(b.asked, ids)
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"multipart/mixed; boundary=b"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(answer.String() + "--b--\r\n")),
	}, nil
}

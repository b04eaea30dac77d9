package recourseriver

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

type anyArgs struct{}

func (anyArgs) Kind() string { return "any" }

// TestReadOutput holds what is made of the output that a job has, whoever wrote it.
func TestReadOutput(t *testing.T) {
	tests := []struct {
		name, metadata string
		label, value   string
		err            string
	}{
		{name: "none", metadata: `{}`},
		{name: "of another worker's code", metadata: `{"output":{"rows":3}}`, value: `{"rows":3}`},
		{name: "a text of its", metadata: `{"output":"done"}`, value: `"done"`},
		{name: "a list of its", metadata: `{"output":[1]}`, value: `[1]`},
		{name: "a status", metadata: `{"output":{"recourse":{"label":"exhausted","stopped":{"state":{"v":1,"n":3}}}}}`, label: "exhausted"},
		{name: "a status and a value", metadata: `{"output":{"recourse":{"label":"exhausted"},"value":3}}`, label: "exhausted", value: "3"},
		{name: "a State of a newer version", metadata: `{"output":{"recourse":{"label":"exhausted","stopped":{"state":{"v":2}}}}}`, err: "version 2"},
		{name: "a damaged status", metadata: `{"output":{"recourse":[]}}`, err: "the job's state"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row := &rivertype.JobRow{Metadata: []byte(tt.metadata)}
			o, err := readOutput(row)
			var label string
			if o.Recourse != nil {
				label = o.Recourse.Label
			}
			if label != tt.label || string(o.Value) != tt.value || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %s, %v; want %q, %s, %q", label, o.Value, err, tt.label, tt.value, tt.err)
			}
			if tt.err == "" {
				return
			}
			// River retries the job; nothing of it is run, and nothing is written over.
			err = Work(t.Context(), &river.Job[anyArgs]{JobRow: row}, func(context.Context) error {
				t.Error("the job was run")
				return nil
			})
			var snoozed *river.JobSnoozeError
			if err == nil || errors.As(err, &snoozed) {
				t.Errorf("Work: got %v, want an error", err)
			}
		})
	}
}

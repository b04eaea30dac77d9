package recourseriver

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/recourse-go/recourse/engine"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Status is what this package stores in a job's metadata: what stopped the job last, and
// the State with which it resumes.
type Status struct {
	// Began is when the job first ran, or was woken by Renewed.
	Began time.Time `json:"began"`

	// Label is what stopped the job: one of the engine's labels or a policy's own, or
	// "deferred" for a call that was handed back. "" = nothing has.
	Label string    `json:"label,omitempty"`
	Rule  string    `json:"rule,omitempty"`  // the rule that decided
	Error string    `json:"error,omitempty"` // the text of the engine's error, which shows no secrets
	Until time.Time `json:"until,omitzero"`  // when the job goes on; zero = it has been cancelled

	// Stopped is the call that stopped the job. Running is another call, which was running
	// when its State was last saved.
	Stopped CallStatus `json:"stopped,omitzero"`
	Running CallStatus `json:"running,omitzero"`
}

// CallStatus is what a job keeps of one of its calls.
type CallStatus struct {
	Of     string        `json:"of,omitempty"`     // its name, as given to Call
	State  *engine.State `json:"state,omitempty"`  // nil = the call starts anew
	Rounds int           `json:"rounds,omitempty"` // how often its attempts were used up, or the job's own function ran
	Asked  int           `json:"asked,omitempty"`  // how often in a row it was snoozed for its user
}

// output is the job's output, the only part of River's metadata that a worker may write.
type output struct {
	Recourse *Status         `json:"recourse,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
}

// errNoOutput is the error of Output for a job without one.
var errNoOutput = errors.New("recourseriver: the job has no output")

// readOutput reads a job's output. An output that other code has written is taken for the
// value. A Status that cannot be read, such as that of a newer version, is an error,
// since without it the job would get all its attempts again.
func readOutput(row *rivertype.JobRow) (o output, err error) {
	b := row.Output()
	var parts struct{ Recourse, Value json.RawMessage }
	if len(b) == 0 {
		return o, nil
	}
	if json.Unmarshal(b, &parts) != nil || parts.Recourse == nil && parts.Value == nil {
		return output{Value: b}, nil
	}
	if parts.Recourse != nil {
		if err := json.Unmarshal(parts.Recourse, &o.Recourse); err != nil {
			return output{}, fmt.Errorf("recourseriver: the job's state: %w", err)
		}
	}
	o.Value = parts.Value
	return o, nil
}

// StatusOf returns the Status in a job's metadata; false = there is none that can be read.
func StatusOf(row *rivertype.JobRow) (Status, bool) {
	o, err := readOutput(row)
	if err != nil || o.Recourse == nil {
		return Status{}, false
	}
	return *o.Recourse, true
}

// Output stores the value that RecordOutput has recorded for a job in v, a pointer. The
// error says that there is no value, or that it does not fit v.
func Output(row *rivertype.JobRow, v any) error {
	o, err := readOutput(row)
	if err != nil {
		return err
	}
	if o.Value == nil {
		return errNoOutput
	}
	if err := json.Unmarshal(o.Value, v); err != nil {
		return fmt.Errorf("recourseriver: output: %w", err)
	}
	return nil
}

// RecordOutput records a value as the job's output. Use it inside Work instead of River's
// function of that name, which would overwrite the job's State. The value is stored with
// the next State, at the latest when the run ends. The error says that ctx is not that of
// Work, or that the value cannot be marshaled.
func RecordOutput(ctx context.Context, value any) error {
	r, _ := ctx.Value(runKey{}).(*run)
	if r == nil {
		return errors.New("recourseriver: RecordOutput outside of Work")
	}
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("recourseriver: output: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value = b
	return nil
}

// save stores a job's output at once.
func save(ctx context.Context, id int64, o output) error {
	params := &river.JobUpdateParams{Output: o}
	var err error
	if client, missing := river.ClientFromContextSafely[pgx.Tx](ctx); missing == nil {
		_, err = client.JobUpdate(ctx, id, params)
	} else if client, missing := river.ClientFromContextSafely[*sql.Tx](ctx); missing == nil {
		_, err = client.JobUpdate(ctx, id, params)
	} else {
		err = missing
	}
	if err != nil {
		return fmt.Errorf("recourseriver: save the job's state: %w", err)
	}
	return nil
}

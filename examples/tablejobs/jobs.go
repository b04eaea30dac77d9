// Package tablejobs is a recipe, to be copied and changed: jobs that wait as long as a
// provider says, in one table of PostgreSQL, for a team that has neither River nor Temporal.
package tablejobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/recourse-go/recourse/engine"
)

// Schema is the table. A job's mailbox and operation are unique among those that are not over.
const Schema = `
create table jobs (
	id           bigint generated always as identity primary key,
	mailbox      text not null,
	operation    text not null,
	run_at       timestamptz not null default now(),        -- not before
	leased_until timestamptz not null default '-infinity',  -- by a worker
	began        timestamptz not null default now(),
	state        jsonb not null default '{"v":1}',           -- engine.State
	rounds       int not null default 0,                    -- how often all attempts were used up
	label        text not null default '',                  -- what stopped it last
	error        text not null default '',
	over         boolean not null default false
);
create index on jobs (run_at) where not over;
create unique index on jobs (mailbox, operation) where not over;`

// Job is a job that this worker has leased.
type Job struct {
	ID                 int64
	Mailbox, Operation string

	began, lease time.Time
	state        engine.State
	rounds       int
}

const (
	lease     = 2 * time.Minute // of a run; a killed worker's job is found again after it
	maxRounds = 10
	maxAge    = 7 * 24 * time.Hour
)

// Next runs the job that has been due for the longest time; false = no job is due. do must make
// one call, with the Call that it gets.
func Next(ctx context.Context, db *sql.DB, do func(context.Context, Job, engine.Call) error) (bool, error) {
	j := Job{}
	var state []byte
	// SKIP LOCKED lets other workers take the next one meanwhile.
	err := db.QueryRowContext(ctx, `
		update jobs set leased_until = clock_timestamp() + $1 * interval '1 second'
		where id = (
			select id from jobs where not over and run_at <= now() and leased_until <= now()
			order by run_at limit 1 for update skip locked)
		returning id, mailbox, operation, began, leased_until, state, rounds`, lease.Seconds(),
	).Scan(&j.ID, &j.Mailbox, &j.Operation, &j.began, &j.lease, &state, &j.rounds)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(state, &j.state)
	}
	if err != nil {
		return false, err
	}
	run, cancel := context.WithDeadlineCause(ctx, j.lease.Add(-10*time.Second), errors.New("the lease ends"))
	defer cancel()
	run, fail := context.WithCancelCause(run)
	defer fail(nil)
	c := engine.Call{MaxInline: time.Second, State: j.state}
	c.Account, c.Operation = j.Mailbox, j.Operation
	c.Checkpoint = func(ctx context.Context, s engine.State) {
		if err := j.set(ctx, db, "state = $3", toJSON(s)); err != nil {
			fail(err) // no attempt without it
		}
	}
	return true, j.end(context.WithoutCancel(ctx), db, ctx.Err, do(run, j, c))
}

// end stores what to do with a job whose call ended with err.
func (j *Job) end(ctx context.Context, db *sql.DB, stopping func() error, err error) error {
	const later = "leased_until = '-infinity', run_at = $3, state = $4, rounds = $5, label = $6, error = $7"
	const over = "leased_until = '-infinity', over = true, label = $3, error = $4"
	now := time.Now()
	var handedBack *engine.DeferError
	var gaveUp *engine.GiveUpError
	old := now.Sub(j.began) > maxAge
	// The texts of the engine's errors show no secrets, those of what is around them may.
	switch {
	case err == nil:
		return j.set(ctx, db, over, "", "")
	case errors.As(err, &handedBack) && !old:
		return j.set(ctx, db, later, handedBack.Until, toJSON(handedBack.State), j.rounds, "deferred", handedBack.Error())
	case errors.As(err, &handedBack):
		return j.set(ctx, db, over, "deferred", handedBack.Error())
	case !errors.As(err, &gaveUp): // of the job's own: again in a minute, until it is too old
		if old {
			return j.set(ctx, db, over, "error", err.Error())
		}
		return j.set(ctx, db, later, now.Add(time.Minute), toJSON(j.state), j.rounds, "error", err.Error())
	}
	label, state, until, rounds := gaveUp.Decision.As, gaveUp.Decision.State, gaveUp.Until, j.rounds
	switch label {
	case engine.AsUnavailable, engine.AsBudget, engine.AsDeadline:
	case engine.AsCanceled:
		until = now.Add(time.Minute)
		if stopping() != nil { // a deploy: at once, by whoever is there
			until, old = now, false
		}
	case engine.AsMisconfigured:
		until = now.Add(5 * time.Minute)
	case engine.AsExhausted, engine.AsNeedsUser:
		old = old || rounds >= maxRounds && label == engine.AsExhausted
		wait := min(time.Minute<<min(rounds, 9), 6*time.Hour)
		until, state, rounds = now.Add(wait+rand.N(wait/10)), engine.State{}, rounds+1
	default: // permanent, ambiguous, resync, and the policy's own: a person, or your own code by the label
		old = true
	}
	if old {
		return j.set(ctx, db, over, label, gaveUp.Error())
	}
	return j.set(ctx, db, later, until, toJSON(state), rounds, label, gaveUp.Error())
}

// errLeaseLost is the error of a worker that was paused for longer than its lease.
var errLeaseLost = errors.New("tablejobs: another worker has the job by now")

// set changes the job while this worker still has it.
func (j *Job) set(ctx context.Context, db *sql.DB, what string, args ...any) error {
	res, err := db.ExecContext(ctx, "update jobs set "+what+" where id = $1 and leased_until = $2", append([]any{j.ID, j.lease}, args...)...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, errLeaseLost)
	}
	return nil
}

// Renewed lets the jobs of a mailbox go on after its user has signed in again.
func Renewed(ctx context.Context, db *sql.DB, mailbox string) error {
	_, err := db.ExecContext(ctx, `
		update jobs set run_at = now(), began = now(), rounds = 0, state = '{"v":1}'
		where mailbox = $1 and label = 'needs_user' and not over`, mailbox)
	return err
}

func toJSON(s engine.State) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // cannot happen: a State always marshals
	}
	return b
}

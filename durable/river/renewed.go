package recourseriver

import (
	"context"
	"errors"
	"fmt"

	"github.com/recourse-go/recourse/engine"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Renewed wakes those jobs of the list that were stopped as needs_user, so that they go on
// at once, and returns how many it woke. Call it when a user has signed in again and the new
// credentials are stored, after [engine.Provider.Renewed]:
//
//	woken, err := recourseriver.Renewed(ctx, client, river.NewJobListParams().
//		Kinds("sync").Where("args ->> 'mailbox' = @mailbox", river.NamedArgs{"mailbox": mailbox}))
//
// A job that is running at that moment, with the old credentials, is not woken. It goes on
// by itself a minute after it was stopped for the first time.
func Renewed[TTx any](ctx context.Context, client *river.Client[TTx], jobs *river.JobListParams) (woken int, err error) {
	const page = 1000
	jobs = jobs.States(rivertype.JobStateScheduled).OrderBy(river.JobListOrderByID, river.SortOrderAsc).First(page)
	for {
		list, err := client.JobList(ctx, jobs)
		if err != nil {
			return woken, fmt.Errorf("recourseriver: list jobs: %w", err)
		}
		for _, row := range list.Jobs {
			o, err := readOutput(row)
			if err != nil || o.Recourse == nil || o.Recourse.Label != engine.AsNeedsUser {
				continue
			}
			o.Recourse = &Status{}
			if _, err := client.JobUpdate(ctx, row.ID, &river.JobUpdateParams{Output: o}); err != nil {
				return woken, fmt.Errorf("recourseriver: wake job %d: %w", row.ID, err)
			}
			switch _, err := client.JobRetry(ctx, row.ID); {
			case errors.Is(err, rivertype.ErrNotFound): // deleted meanwhile
			case err != nil:
				return woken, fmt.Errorf("recourseriver: wake job %d: %w", row.ID, err)
			default:
				woken++
			}
		}
		if len(list.Jobs) < page {
			return woken, nil
		}
		jobs = jobs.After(list.LastCursor)
	}
}

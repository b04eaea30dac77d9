// Package recourseriver lets the jobs of River (https://riverqueue.com) wait as long as a
// provider says, without holding a worker and over any number of processes.
//
//	func (w *SyncWorker) Work(ctx context.Context, job *river.Job[SyncArgs]) error {
//		return recourseriver.Work(ctx, job, func(ctx context.Context) error {
//			c := recourseriver.Call(ctx, "")
//			c.Provider, c.Account = "gmail", job.Args.Mailbox
//			return w.engine.Do(ctx, c, func(ctx context.Context) error { … })
//		})
//	}
//
// A call that must wait for more than a second ends the job's run. The job is snoozed
// until the call may go on, which uses none of the job's attempts. The call's
// [engine.State] is stored in the job's metadata, so that the next run, in any process,
// counts on from there. If a call ends in another way, the label in its decision decides
// about the job:
//
//	handed back           snoozed until the time that the DeferError names
//	unavailable, budget,  snoozed until the time that the GiveUpError names
//	deadline
//	exhausted             snoozed for a round of 1 minute, 2, 4, … up to 6 hours, with fresh
//	                      attempts; cancelled after Options.MaxRounds of them
//	needs_user            snoozed likewise, without that bound; Renewed wakes it
//	misconfigured         snoozed for 5 minutes, and logged as an error
//	canceled              snoozed for a second at most where the job's context has ended or
//	                      the engine is closed, as by a deploy
//	permanent, ambiguous, cancelled, with the label in the error and in the metadata
//	a policy's own label  (see Options.On for what a job can do itself)
//	any other error       returned to River, whose own retries use attempts
//
// A job that is older than Options.MaxAge is cancelled instead of snoozed.
//
// # What River has to be told
//
// River looks for scheduled jobs every 5 seconds, in one process, the leader, and hands
// them out at their time: a snoozed job resumes within a second of it, by default. If the
// leader is killed, its term of 15 seconds has to end and another has to be elected: within 21
// seconds. A job whose process is killed while it runs is found by its age only:
// [river.Config].RescueStuckJobsAfter is an hour by default, and should be little more than
// JobTimeout (which is a minute), such as 2 minutes. It is looked at every 30 seconds, and
// such a rescue burns an attempt. Since no call waits for more than a second inside a
// run, a JobTimeout of a minute is enough for most.
package recourseriver

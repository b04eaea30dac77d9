// Package recoursetemporal lets Temporal (https://temporal.io) wait for a provider as long
// as it says: an activity that must wait for more than a second fails with the delay
// until its next attempt, and that attempt goes on with the call's [engine.State].
//
//	func (a *Activities) Sync(ctx context.Context, mailbox string) error {
//		c := recoursetemporal.Call(ctx)
//		c.Provider, c.Account = "gmail", mailbox
//		err := a.engine.Do(ctx, c, func(ctx context.Context) error { … })
//		return recoursetemporal.Finish(ctx, err)
//	}
//
// The policy counts attempts, in the State, so the workflow's [temporal.RetryPolicy] must
// leave MaximumAttempts at 0. Set ScheduleToCloseTimeout to the longest time that an activity
// may wait, such as 7 days. StartToCloseTimeout bounds one attempt; 5 minutes are plenty.
// HeartbeatTimeout must be set: Temporal carries the heartbeat details, which have the State,
// to the next attempt.
//
// The label in a call's decision is the type of the activity's failure, and decides what
// happens next:
//
//	handed back           retried at the time that the DeferError names, benign
//	unavailable, budget,  retried at the time that the GiveUpError names, benign
//	deadline
//	exhausted             retried after an hour, with fresh attempts
//	misconfigured         retried after 5 minutes
//	canceled              cancelled where Temporal has cancelled the activity; else, as where
//	                      its worker stops, retried after a second
//	permanent, ambiguous, not retried: the workflow decides by the type. It may wait for a
//	needs_user, resync,   signal, such as one that a user has signed in, and run the activity
//	a policy's own label  again
//	any other error       as it is: retried by the RetryPolicy
//
// Benign failures are neither logged as errors nor counted as such by Temporal's SDK.
package recoursetemporal

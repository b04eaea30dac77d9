package pglimit

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storecodec"
)

// This file makes the tables and functions of a store in its server, from the files in sql.

//go:embed sql/*.sql
var files embed.FS

// migrations are the steps of the schema. The files of the step at index i bring the schema to
// version i+1. The files of a released step must not change.
var migrations = [][]string{
	{"tables", "epoch", "decide", "take", "end", "change", "renew", "credential"},
	{"pause"},
}

// included are the files whose text is inserted into several functions. They are not functions
// of their own, since PL/pgSQL is slow at passing arrays from one function to another.
var included = []string{"load", "find", "save", "offer", "addtolog", "voidit", "prune", "useup", "advance", "tune", "expires", "believe"}

// numbers are what the names in braces stand for in the files of sql: kinds and limits as in package
// storetest, which is the reference, and the places of what is kept in arrays. Times are in microseconds.
var numbers = map[string]int64{
	// kinds
	"gate": 0, "bucket": 1, "log": 2, "fixed": 3, "slots": 4,
	// priorities
	"backfill": 1,
	// endings
	"released": 0, "completed": 1, "cancelled": 2, "succeeded": 3, "refunded": 4,
	// changes
	"refused": 0, "held": 1, "lifted": 2, "learned": 3,

	// steps and phases of a refresh
	"credentialBegin": 0, "credentialExtend": 1, "credentialSpend": 2, "credentialSaved": 3, "credentialFailed": 4,
	"credentialLost": 5, "credentialFound": 6, "credentialRenewed": 7,
	"credentialIdle": 0, "credentialYours": 1, "credentialBusy": 2, "credentialNewer": 3, "credentialUnknown": 4, "credentialBackoff": 5,

	// of one limit in keys.lim
	"name": 0, "kind": 1, "time": 2, "most": 3, "tat": 4, "hold": 5, "causeAt": 6, "allowed": 7, "lapse": 8, "refusals": 9,
	"refusedAt": 10, "cut": 11, "cutAt": 12, "cutNext": 13, "credit": 14, "wanted": 15, "granted": 16, "left": 17, "reset": 18,
	"first": 19, "slop": 20, "lsince": 21, "last": 22, "heard": 23, "count": 24, "guessed": 25, "quota": 26,
	"later":    27, // 0 = none of what stands before is set; else when all of that is over
	"liftedAt": 28,
	"reserved": 29, // when a bucket is full again after what is reserved of it
	"limSize":  limSize,

	// what is in keys.lists: the limit's number from 1, one of these, and
	"logEntry": 1, // at, units
	"lease":    2, // id, slots, at, until
	"waiter":   3, // member, priority, slots, until, told
	"probe":    4, // id, until
	"claim":    5, // member, priority, units, until, 1 if it is backfill that is owed nothing
	"listSize": 7,

	// pauses of accounts
	"pausesMost": limiter.MaxPauses, "pausesTold": limiter.MaxPausesTold, "pauseMarks": 200, "pauseKept": int64(limiter.PauseKept / time.Microsecond),

	"second": 1_000_000, "minute": 60_000_000,
	"maxUnits": storecodec.MaxUnits, "longestStep": 20 * storecodec.Longest,
	"recentFor": 2_000_000, "recentMost": 32, "voidMost": 64,
	"leaseMost": 1000, "rowKept": 600_000_000, "waiterMost": 256, "lotOf": 61, "waiterFor": 1_000_000, "keptFor": 250_000, "claimLate": 5_000, "restorePart": 3,
	"probeLapse": 60_000_000, "maxProbes": 64, "refusalLapse": 3_600_000_000, "liftedFor": 1_200_000_000, "maxRefusals": 1 << 30,
	"whole": 1_000_000, "adaptCut": 700_000, "adaptFloor": 50_000, "adaptEvery": 1_000_000, "adaptTick": 200,
	"maxLearned": 7 * 24 * 3_600_000_000, "quotaKept": 3_600_000_000, "resetSlop": 2_000_000,
	"creditMost": 1_000_000_000_000, "wantedFor": 2_000_000,
	"logParts": 32, "logExact": 64, "logMost": 256, "refundReach": 1_000_000,
}

const limSize = 30

// clockNow is the server's clock in microseconds.
const clockNow = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"

// statements returns the text of a file with all names in braces replaced.
func statements(name string, o *Options) string {
	read := func(name string) string {
		b, err := files.ReadFile("sql/" + name + ".sql")
		if err != nil {
			panic(err) // it is embedded
		}
		return string(b)
	}
	text := read(name)
	for _, part := range included {
		text = strings.ReplaceAll(text, "{"+part+"}\n", read(part))
	}
	since := "xsince"
	if name == "decide" {
		since = "sinces[part]"
	}
	pairs := []string{
		"{schema}", pgx.Identifier{o.Schema}.Sanitize(),
		"{channel}", strings.ReplaceAll(o.Schema, "'", "''"),
		"{clock}", clockNow,
		"{since}", since,
		"{zeros}", strings.Repeat(", 0", limSize-4),
	}
	for name, n := range numbers {
		pairs = append(pairs, "{"+name+"}", strconv.FormatInt(n, 10))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// EnsureSchema creates the schema that a [Store] needs, or updates it to the version of this
// package. It does nothing if the schema has that version. Many processes may call it at once.
// It uses only Options.Schema, of the first of o.
//
// It needs a role that may create a schema, or tables in one that is there.
func EnsureSchema(ctx context.Context, pool *pgxpool.Pool, o ...Options) error {
	var options Options
	if len(o) > 0 {
		options = o[0]
	}
	if err := options.complete(); err != nil {
		return err
	}
	if err := ensureSchema(ctx, pool, &options); err != nil {
		return fmt.Errorf("pglimit: schema %q: %w", options.Schema, err)
	}
	return nil
}

func ensureSchema(ctx context.Context, pool *pgxpool.Pool, o *Options) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		run := func(sql string) error {
			_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
			return err
		}
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtextextended($1, 0))", "recourse pglimit "+o.Schema); err != nil {
			return err
		}
		name := pgx.Identifier{o.Schema}.Sanitize()
		there := false
		if err := tx.QueryRow(ctx, "select exists (select from pg_namespace where nspname = $1)", o.Schema).Scan(&there); err != nil {
			return err
		}
		if !there {
			if err := run("create schema " + name); err != nil {
				return err
			}
		}
		if err := tx.QueryRow(ctx, "select to_regclass($1) is not null", name+".version").Scan(&there); err != nil {
			return err
		}
		if !there {
			if err := run("create table " + name + ".version (version int not null); insert into " + name + ".version values (0)"); err != nil {
				return err
			}
		}
		version := 0
		if err := tx.QueryRow(ctx, "select version from "+name+".version").Scan(&version); err != nil {
			return err
		}
		if version > len(migrations) {
			return errNewer
		}
		for ; version < len(migrations); version++ {
			for _, file := range migrations[version] {
				if err := run(statements(file, o)); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
		}
		_, err := tx.Exec(ctx, "update "+name+".version set version = $1 where version <> $1", version)
		return err
	})
}

var errNewer = errors.New("it is of a newer version of pglimit: update this program")

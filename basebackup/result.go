package basebackup

import (
	"time"

	"tidemark/internal/catalog"
)

// Result is a backup's manifest as it is shown. Sizes are in bytes, times in UTC.
type Result struct {
	ID            string    `json:"id"`
	Engine        string    `json:"engine"`
	ToolVersion   string    `json:"tool_version"`
	ServerVersion string    `json:"server_version"`
	Timeline      uint32    `json:"timeline"`
	GTID          string    `json:"gtid"`   // position at which it is consistent
	Source        string    `json:"source"` // that as FILE:POSITION
	Segment       uint64    `json:"segment"`
	Parts         int       `json:"parts"`
	PlainBytes    int64     `json:"plain_bytes"`
	StoredBytes   int64     `json:"stored_bytes"`
	Started       time.Time `json:"started"`
	Consistent    time.Time `json:"consistent"` // by the server's clock
	Finished      time.Time `json:"finished"`
	Seconds       float64   `json:"seconds"`
}

// Summarize makes a Result of a manifest.
func Summarize(b *catalog.Base) Result {
	return Result{ID: b.ID, Engine: b.Engine, ToolVersion: b.ToolVersion, ServerVersion: b.ServerVersion, Timeline: b.Timeline,
		GTID: b.PositionMax.GTID, Source: b.Source.String(), Segment: b.Segment, Parts: len(b.Parts),
		PlainBytes: b.PlainBytes, StoredBytes: b.StoredBytes(), Started: b.Started, Consistent: b.Consistent, Finished: b.Finished,
		Seconds: b.Finished.Sub(b.Started).Seconds()}
}

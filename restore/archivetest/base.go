package archivetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
)

// AddBase puts a base backup with the stream as parts of at most partSize bytes. at is where its
// position lies in the source, position that as a GTID position; b gives what else is to be in the
// manifest.
func (a *Archive) AddBase(b catalog.Base, at binlog.Point, position string, stream io.Reader, partSize int64) *catalog.Base {
	a.tb.Helper()
	b.ClusterUUID, b.Timeline, b.Flavor = a.Catalog.Cluster.UUID, a.line, gtid.MariaDB
	b.Source, b.PositionMax = at, catalog.Position{GTID: position}
	b.PositionMin = b.PositionMax
	if b.Engine == "" {
		b.Engine = "mbstream"
	}
	if b.ServerVersion == "" {
		b.ServerVersion = "10.11.19-MariaDB-log"
	}
	if b.Consistent.IsZero() {
		b.Consistent = time.Now()
	}
	if b.Started.IsZero() {
		b.Started, b.Finished = b.Consistent, b.Consistent
	}
	for _, s := range a.Segments {
		if s.Source.File == at.File && s.Source.Start < at.Offset && at.Offset <= s.Source.End {
			for off, m := s.Source.Start, 0; off < at.Offset; m++ {
				off += s.Members[m].BodyBytes
				b.Segment = s.Members[m].Number
			}
		}
	}
	for n := uint32(1); ; n++ {
		plain, err := io.ReadAll(io.LimitReader(stream, partSize))
		a.must(err)
		if len(plain) == 0 && n > 1 {
			break
		}
		b.Parts = append(b.Parts, catalog.Part{Number: n, PlainBytes: int64(len(plain)), PlainSHA256: sha256.Sum256(plain),
			Stored: a.upload(catalog.PartKey(b.ID, n, b.Engine), bytes.NewReader(plain))})
		b.PlainBytes += int64(len(plain))
	}
	a.must(a.Catalog.PutBase(context.Background(), &b))
	return &b
}

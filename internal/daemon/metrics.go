package daemon

import (
	"github.com/prometheus/client_golang/prometheus"

	pb "tidemark/proto/status"
)

// collector makes the metrics from the status message, so that both always say the same.
type collector struct{ port *port }

// metric is one metric of every cluster.
type metric struct {
	name  string
	help  string
	kind  prometheus.ValueType
	value func(*pb.Cluster) (float64, bool)
}

func always(f func(*pb.Cluster) float64) func(*pb.Cluster) (float64, bool) {
	return func(c *pb.Cluster) (float64, bool) { return f(c), true }
}

// semiSync is of clusters that acknowledge.
func semiSync(f func(*pb.SemiSync) float64) func(*pb.Cluster) (float64, bool) {
	return func(c *pb.Cluster) (float64, bool) {
		if c.SemiSync == nil {
			return 0, false
		}
		return f(c.SemiSync), true
	}
}

// verification is of clusters whose archive was checked.
func verification(f func(*pb.Verification) float64) func(*pb.Cluster) (float64, bool) {
	return func(c *pb.Cluster) (float64, bool) {
		if c.LastVerification == nil {
			return 0, false
		}
		return f(c.LastVerification), true
	}
}

// expiry is of clusters whose retention has run.
func expiry(f func(*pb.Expiry) float64) func(*pb.Cluster) (float64, bool) {
	return func(c *pb.Cluster) (float64, bool) {
		if c.LastExpiry == nil {
			return 0, false
		}
		return f(c.LastExpiry), true
	}
}

// compaction is of clusters that the daemon compacts.
func compaction(f func(*pb.Compaction) float64) func(*pb.Cluster) (float64, bool) {
	return func(c *pb.Cluster) (float64, bool) {
		if c.Compaction == nil {
			return 0, false
		}
		return f(c.Compaction), true
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// metrics lists what is exported for a cluster, with the label cluster. Base units.
func metrics() []metric {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []metric{
		{"tidemark_source_up", "1 while the binlog is streamed from the primary.", gauge, always(func(c *pb.Cluster) float64 {
			switch c.State {
			case pb.State_STATE_STREAMING, pb.State_STATE_IDLE, pb.State_STATE_CATCHING_UP, pb.State_STATE_STALLED:
				return 1
			}
			return 0
		})},
		{"tidemark_lease_held", "1 while this daemon holds the lease of the cluster; 0 while another one archives it.", gauge,
			func(c *pb.Cluster) (float64, bool) { return truth(c.GetLease().GetOurs()), c.Lease != nil }},
		{"tidemark_received_bytes_total", "Bytes of events received and stored.", counter,
			always(func(c *pb.Cluster) float64 { return float64(c.ReceivedBytes) })},
		{"tidemark_received_events_total", "Events received and stored.", counter,
			always(func(c *pb.Cluster) float64 { return float64(c.ReceivedEvents) })},
		{"tidemark_received_transactions_total", "Transactions received and stored.", counter,
			always(func(c *pb.Cluster) float64 { return float64(c.ReceivedTransactions) })},
		{"tidemark_duplicate_bytes_total", "Bytes received again after reconnects, compared and dropped.", counter,
			always(func(c *pb.Cluster) float64 { return float64(c.DuplicateBytes) })},
		{"tidemark_spooled_lag_seconds", "Age of the newest transaction synced in the spool; 0 when idle.", gauge,
			always(func(c *pb.Cluster) float64 { return c.SpooledLagSeconds })},
		{"tidemark_archived_lag_seconds", "Age of the newest transaction confirmed by storage; 0 when idle.", gauge,
			always(func(c *pb.Cluster) float64 { return c.ArchivedLagSeconds })},
		{"tidemark_timeline", "Number of the timeline that is archived; one more for every fork and gap.", gauge,
			always(func(c *pb.Cluster) float64 { return float64(c.Timeline) })},
		{"tidemark_timeline_began_timestamp_seconds", "When that timeline began.", gauge,
			func(c *pb.Cluster) (float64, bool) {
				return float64(c.GetTimelineBegan().GetSeconds()), c.TimelineBegan != nil
			}},
		{"tidemark_archived_segments", "Number of the newest archived segment.", gauge,
			always(func(c *pb.Cluster) float64 { return float64(c.Segments) })},
		{"tidemark_spool_bytes", "Plain bytes in the spool that are not archived.", gauge,
			always(func(c *pb.Cluster) float64 { return float64(c.SpoolBytes) })},
		{"tidemark_spool_limit_bytes", "Bytes in the spool at which reading stops.", gauge,
			always(func(c *pb.Cluster) float64 { return float64(c.SpoolLimitBytes) })},
		{"tidemark_spool_segments", "Segments in the spool that are not archived.", gauge,
			always(func(c *pb.Cluster) float64 { return float64(c.SpoolSegments) })},
		{"tidemark_spool_syncs_total", "Syncs of the spool's files and directory; one serves all commits that wait.", counter,
			always(func(c *pb.Cluster) float64 { return float64(c.Syncs) })},
		{"tidemark_server_id_clash", "1 while another replica of the primary uses our server_id, and we another one.", gauge,
			always(func(c *pb.Cluster) float64 { return truth(c.ServerIdClash != 0) })},
		{"tidemark_missing_unaccepted", "1 while the primary's binlog lacks changes because of settings that the configuration does not accept.", gauge,
			always(func(c *pb.Cluster) float64 { return truth(c.MissingUnaccepted) })},
		{"tidemark_barrier", "1 while the log holds what no restore gets past and no base backup is behind it.", gauge,
			always(func(c *pb.Cluster) float64 { return truth(c.Barrier != nil) })},
		{"tidemark_semi_sync_kept", "1 while commits on the primary wait for our acknowledgement.", gauge,
			semiSync(func(s *pb.SemiSync) float64 { return truth(s.Kept) })},
		{"tidemark_semi_sync_primary_on", "1 while the primary waits for the acknowledgement of any replica.", gauge,
			semiSync(func(s *pb.SemiSync) float64 { return truth(s.PrimaryOn) })},
		{"tidemark_semi_sync_acknowledgements_total", "Acknowledgements sent, each for all commits before it.", counter,
			semiSync(func(s *pb.SemiSync) float64 { return float64(s.Sent) })},
		{"tidemark_semi_sync_primary_unacknowledged_total", "Commits that went on without an acknowledgement, by the primary's count since it started.", counter,
			semiSync(func(s *pb.SemiSync) float64 { return float64(s.Unacknowledged) })},
		{"tidemark_reconnects_total", "Connections to the primary that failed or ended.", counter,
			always(func(c *pb.Cluster) float64 { return float64(c.Reconnects) })},
		{"tidemark_checksum_failures_total", "Events received with a wrong checksum.", counter,
			always(func(c *pb.Cluster) float64 { return float64(c.ChecksumFailures) })},
		{"tidemark_upload_failures_total", "Uploads that failed and were tried again.", counter,
			always(func(c *pb.Cluster) float64 { return float64(c.UploadFailures) })},
		{"tidemark_last_archived_commit_timestamp_seconds", "Commit time of the newest archived transaction.", gauge,
			func(c *pb.Cluster) (float64, bool) {
				t := c.GetArchived().GetCommitTime()
				return float64(t.GetSeconds()), t != nil
			}},
		{"tidemark_recoverable_from_timestamp_seconds", "Earliest time that can be restored.", gauge,
			func(c *pb.Cluster) (float64, bool) {
				return float64(c.GetWindow().GetEarliest().GetSeconds()), c.Window != nil
			}},
		{"tidemark_recoverable_until_timestamp_seconds", "Latest time that can be restored.", gauge,
			func(c *pb.Cluster) (float64, bool) {
				return float64(c.GetWindow().GetLatest().GetSeconds()), c.Window != nil
			}},
		{"tidemark_expire_last_success_timestamp_seconds", "End of the last run of retention that did what it was to do.", gauge,
			func(c *pb.Cluster) (float64, bool) {
				t := c.GetLastExpiry().GetSucceeded()
				return float64(t.GetSeconds()), t != nil
			}},
		{"tidemark_expire_failed", "1 while the last run of retention has ended with an error or a warning.", gauge, expiry(func(e *pb.Expiry) float64 {
			return truth(e.Error != "")
		})},
		{"tidemark_expire_refused_objects", "Objects that the storage refused to delete in the last run.", gauge, expiry(func(e *pb.Expiry) float64 {
			return float64(e.RefusedObjects)
		})},
		{"tidemark_backup_last_success_timestamp_seconds", "End of the newest base backup.", gauge,
			func(c *pb.Cluster) (float64, bool) {
				t := c.GetLastBackup().GetFinished()
				return float64(t.GetSeconds()), t != nil
			}},
		{"tidemark_verify_last_timestamp_seconds", "End of the last scheduled check of the archive, whatever its result.", gauge,
			verification(func(v *pb.Verification) float64 { return float64(v.GetFinished().GetSeconds()) })},
		{"tidemark_compacted_segments_total", "Small segments that were put together.", counter,
			compaction(func(k *pb.Compaction) float64 { return float64(k.Segments) })},
		{"tidemark_compacted_bytes_total", "Plain bytes of these segments.", counter,
			compaction(func(k *pb.Compaction) float64 { return float64(k.Bytes) })},
		{"tidemark_compaction_removed_objects_total", "Objects of segments that were replaced a grace before.", counter,
			compaction(func(k *pb.Compaction) float64 { return float64(k.RemovedObjects) })},
		{"tidemark_compaction_failures_total", "Runs of compaction that failed; they are tried again.", counter,
			compaction(func(k *pb.Compaction) float64 { return float64(k.Failures) })},
		{"tidemark_compaction_kept_bytes", "Archived bytes that wait in the spool to be compacted, while there is room.", gauge,
			compaction(func(k *pb.Compaction) float64 { return float64(k.KeptBytes) })},
		{"tidemark_last_compaction_timestamp_seconds", "When segments were last put together or removed.", gauge,
			func(c *pb.Cluster) (float64, bool) {
				t := c.GetCompaction().GetFinished()
				return float64(t.GetSeconds()), t != nil
			}},
		{"tidemark_verify_ok", "1 when that check was done and found no damage.", gauge,
			verification(func(v *pb.Verification) float64 { return truth(v.Error == "" && v.Damage == 0) })},
		{"tidemark_verify_damage", "Findings of damage by that check.", gauge,
			verification(func(v *pb.Verification) float64 { return float64(v.Damage) })},
		{"tidemark_verify_warnings", "Warnings of that check.", gauge,
			verification(func(v *pb.Verification) float64 { return float64(v.Warnings) })},
		{"tidemark_verify_read_bytes", "Stored bytes of data that that check read.", gauge,
			verification(func(v *pb.Verification) float64 { return float64(v.ReadBytes) })},
	}
}

// Describe sends nothing: the metrics are checked as they are collected.
func (*collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the status once.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	st := c.port.status()
	info := prometheus.NewDesc("tidemark_build_info", "1, with the version as label.", []string{"version"}, nil)
	out <- prometheus.MustNewConstMetric(info, prometheus.GaugeValue, 1, st.Version)
	for _, m := range metrics() {
		desc := prometheus.NewDesc(m.name, m.help, []string{"cluster"}, nil)
		for _, cl := range st.Clusters {
			if v, ok := m.value(cl); ok {
				out <- prometheus.MustNewConstMetric(desc, m.kind, v, cl.Name)
			}
		}
	}
}

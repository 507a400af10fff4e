package variables

import (
	"slices"
	"strings"
)

// idle are beginnings of the names of plugins that have no part in what a log does to data: they watch sessions, refuse
// passwords and statements, or carry the log elsewhere.
var idle = []string{
	"audit_", "clone", "connection_control", "cracklib_", "disks", "firewall", "group_replication", "keyring_udf", "locales",
	"metadata_lock_info", "mysqlx", "password_reuse_check", "query_cache_info", "query_response_time", "rpl_semi_sync_",
	"semisync", "server_audit", "simple_password_check", "thread_pool", "tp_thread_", "user_variables", "validate_password",
	"version_tokens", "wsrep_",
}

// PluginMatters reports whether a log may need a plugin of this name: an engine, a way of authentication, a parser, a type.
func PluginMatters(name string) bool {
	name = strings.ToLower(name)
	return !slices.ContainsFunc(idle, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

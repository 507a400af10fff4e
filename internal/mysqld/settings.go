package mysqld

import (
	"fmt"
	"slices"
	"strings"
)

// settings are the server variables that a data directory depends on, or that change what logged
// statements do when they are applied. Only these are taken from a backup's manifest: it must not be
// able to make a server load or run something.
var settings = []string{
	"aria_block_size",
	"character_set_server",
	"collation_server",
	"default_storage_engine",
	"default_week_format",
	"div_precision_increment",
	"explicit_defaults_for_timestamp",
	"ft_max_word_len",
	"ft_min_word_len",
	"group_concat_max_len",
	"innodb_autoinc_lock_mode",
	"innodb_checksum_algorithm",
	"innodb_compression_algorithm",
	"innodb_compression_default",
	"innodb_data_file_path",
	"innodb_default_row_format",
	"innodb_file_per_table",
	"innodb_ft_max_token_size",
	"innodb_ft_min_token_size",
	"innodb_page_size",
	"innodb_strict_mode",
	"innodb_undo_tablespaces",
	"lower_case_table_names",
	"mysql56_temporal_format",
	"old_mode",
	"sql_mode",
	"system_versioning_alter_history",
	"time_zone",
}

// renamed are settings whose option has another name than their variable.
var renamed = map[string]string{
	"time_zone": "default-time-zone",
}

// Settings returns the names of the variables that a backup should record, because Start hands them
// to a server that runs on it. Not every server has all of them.
func Settings() []string { return slices.Clone(settings) }

// settingArgs renders recorded variables as options, in a fixed order. Those that are not in
// Settings are left out, and those that could pass for another option are refused.
func settingArgs(variables map[string]string) ([]string, error) {
	var args []string
	for _, name := range settings {
		value, ok := variables[name]
		if !ok || name == "sql_mode" && value == "" {
			continue
		}
		if strings.ContainsAny(value, "\x00\n\r") {
			return nil, fmt.Errorf("recorded variable %s has the value %q", name, value)
		}
		value, err := layoutValue(name, value)
		if err != nil {
			return nil, err
		}
		option := strings.ReplaceAll(name, "_", "-")
		if renamed[name] != "" {
			option = renamed[name]
		}
		// A server that does not know the option any more must start all the same.
		args = append(args, fmt.Sprintf("--loose-%s=%s", option, value))
	}
	return args, nil
}

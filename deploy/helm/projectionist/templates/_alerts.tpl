{{- /* SPDX-License-Identifier: Apache-2.0 */}}

{{- /* RUNBOOK.md has a section for each. */}}
{{- define "projectionist.alerts" -}}
{{- $monitoring := .Values.monitoring -}}
- alert: ProjectionistDown
  # None of the processes answers; those that were there within a day are remembered.
  expr: |
    group by (namespace, workload) (max_over_time(up{job="projectionist"}[1d]))
    unless group by (namespace, workload) (up{job="projectionist"} == 1)
  for: 5m
  severity: critical
  summary: 'no process of {{ "{{ $labels.workload }}" }} runs'
- alert: ProjectionistNotReady
  expr: |
    max by (namespace, workload, pod) (projectionist_stalled) == 1
    or min by (namespace, workload, pod) (projectionist_bridge_connected) == 0
  for: 10m
  severity: critical
  summary: '{{ "{{ $labels.pod }}" }} does nothing of what there is to do; /readyz has the reason'
- alert: ProjectionistNoProgress
  expr: |
    sum by (namespace, workload) (projectionist_lag_records) > 0
    and sum by (namespace, workload) (rate(projectionist_records_total[10m])) == 0
  for: 10m
  severity: critical
  summary: '{{ "{{ $labels.workload }}" }} has records to read and reads none'
- alert: ProjectionistLagSeconds
  expr: max by (namespace, workload) (projectionist_lag_seconds) > {{ $monitoring.lagSeconds }}
  for: 10m
  severity: warning
  summary: 'the tables of {{ "{{ $labels.workload }}" }} are {{ "{{ $value | humanizeDuration }}" }} behind what happened'
- alert: ProjectionistLagGrowing
  expr: |
    sum by (namespace, workload) (projectionist_lag_records) > {{ $monitoring.lagGrowingRecords }}
    and sum by (namespace, workload) (deriv(projectionist_lag_records[30m])) > 0
  for: 30m
  severity: warning
  summary: '{{ "{{ $labels.workload }}" }} reads less than is written'
- alert: ProjectionistDeadLetters
  expr: |
    sum by (namespace, workload) (increase(projectionist_dead_letters_total[1h])) > 0
    or sum by (namespace, workload) (increase(projectionist_bridge_dead_letters_total[1h])) > 0
  severity: warning
  summary: '{{ "{{ $labels.workload }}" }} could not apply records'
- alert: ProjectionistFenced
  expr: sum by (namespace, workload) (increase(projectionist_fenced_total[15m])) > 3
  severity: warning
  summary: 'processes of {{ "{{ $labels.workload }}" }} take partitions from each other'
- alert: ProjectionistRetentionMargin
  expr: max by (namespace, workload, topic) (projectionist_retention_used_ratio) > 0.8
  for: 5m
  severity: critical
  summary: 'Kafka removes records of {{ "{{ $labels.topic }}" }} soon that {{ "{{ $labels.workload }}" }} has not read: the oldest has {{ "{{ $value | humanizePercentage }}" }} of its retention behind it'
- alert: ProjectionistKafkaRefuses
  expr: sum by (namespace, workload) (rate(projectionist_kafka_refusals_total[10m])) > 0
  for: 10m
  severity: warning
  summary: 'Kafka refuses what {{ "{{ $labels.workload }}" }} publishes'
- alert: ProjectionistBridgeGap
  expr: sum by (namespace, workload) (increase(projectionist_bridge_gaps_total[1h])) > 0
  severity: warning
  summary: 'what {{ "{{ $labels.workload }}" }} had not read yet is gone where it comes from'
- alert: ProjectionistOutboxBehind
  expr: |
    max by (namespace, workload) (projectionist_outbox_oldest_seconds) > 60
    or max by (namespace, workload) (projectionist_outbox_active) == 0
  for: 5m
  severity: critical
  summary: 'events of {{ "{{ $labels.workload }}" }} were committed and are not in Kafka'
- alert: ProjectionistOutboxFailed
  expr: max by (namespace, workload) (projectionist_outbox_failed_rows) > 0
  severity: warning
  summary: '{{ "{{ $value }}" }} events of {{ "{{ $labels.workload }}" }} can never be published as they are'
- alert: ProjectionistGatewayErrors
  expr: |
    sum by (namespace, workload) (rate(projectionist_gateway_requests_total{code=~"5.."}[10m]))
    / sum by (namespace, workload) (rate(projectionist_gateway_requests_total[10m])) > 0.05
  for: 10m
  severity: warning
  summary: 'more than one request in twenty is answered with an error'
- alert: ProjectionistIngestErrors
  expr: |
    sum by (namespace, workload) (rate(projectionist_ingest_requests_total{code=~"5.."}[10m]))
    / sum by (namespace, workload) (rate(projectionist_ingest_requests_total[10m])) > 0.05
  for: 10m
  severity: warning
  summary: 'more than one request with events in twenty is answered with an error'
- alert: ProjectionistWebhooksRefused
  expr: sum by (namespace, workload) (increase(projectionist_ingest_refused_webhooks_total[1h])) > 0
  severity: warning
  summary: 'events that webhooks sent to {{ "{{ $labels.workload }}" }} were refused and do not come again'
{{- if $monitoring.jobAlerts }}
- alert: ProjectionistVerifyDiffers
  expr: |
    kube_job_failed{condition="true", job_name=~"{{ include "projectionist.fullname" . }}-verify-.+"} == 1
    and on (namespace, job_name) time() - kube_job_status_start_time < 129600
  severity: critical
  summary: '{{ "{{ $labels.job_name }}" }} found rows that differ from their topics, or could not tell'
- alert: ProjectionistRebuildStalled
  expr: |
    kube_job_status_active{job_name=~"{{ include "projectionist.fullname" . }}-rebuild-.+"} > 0
    and on (namespace, job_name) time() - kube_job_status_start_time > 21600
  severity: warning
  summary: '{{ "{{ $labels.job_name }}" }} has run for six hours'
- alert: ProjectionistImportFailed
  expr: |
    kube_job_failed{condition="true", job_name=~"{{ include "projectionist.fullname" . }}-drama-import-.+"} == 1
    and on (namespace, job_name) time() - kube_job_status_start_time < 129600
  severity: warning
  summary: '{{ "{{ $labels.job_name }}" }} has not imported all dramas'
{{- end }}
{{- end -}}

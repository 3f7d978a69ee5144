{{/* The Job's spec, from {root, force}: of the CronJob's runs, which never force, and of the one run now. */}}
{{- define "database-load.jobSpec" -}}
{{- $force := .force -}}
{{- with .root -}}
backoffLimit: {{ .Values.cronjob.backoffLimit }}
activeDeadlineSeconds: {{ int64 .Values.activeDeadlineSeconds }}
{{- with .Values.cronjob }}
{{- if not (kindIs "invalid" .ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ int64 .ttlSecondsAfterFinished }}
{{- end }}
{{- end }}
template:
  metadata:
    {{- include "orderfood.podMetadata" (dict "root" .) | nindent 4 }}
  spec:
    restartPolicy: {{ .Values.cronjob.restartPolicy }}
    {{- include "orderfood.podBase" . | nindent 4 }}
    {{- with include "database-load.affinity" . | fromYaml }}
    affinity:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    containers:
      - {{- include "orderfood.container" (dict "root" . "name" "database-load" "image" .Values.image "fixtures" true) | nindent 8 }}
        args: [--wait-for-schema{{ if $force }}, --force{{ end }}]
    volumes:
      {{- include "orderfood.volumes" (dict "root" . "claim" .Values.persistence.claim "fixtures" true) | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* A SQLite file is only safe for programs on one node. */}}
{{- define "database-load.affinity" -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- if eq (include "orderfood.backend" .) "sqlite" -}}
{{- $labels := dict "app.kubernetes.io/name" "order-food" -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" $labels) -}}
{{- $near := dict "podAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term)) -}}
{{- $affinity = merge $near $affinity -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}

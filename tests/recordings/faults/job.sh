# A job ends with an error as often as it may.
pattern=job_failed
service=report
fault() {
    make <<END
{ apiVersion: batch/v1, kind: Job, metadata: { name: report }, spec: { backoffLimit: 1, template: { spec: {
  restartPolicy: Never, containers: [{ name: report, image: "$image",
    command: [sh, -c, 'echo "reading 4000 rows"; sleep 1; echo "ValueError: row 17: amount is not a number" >&2; exit 3'] }] } } } }
END
}
seconds=45

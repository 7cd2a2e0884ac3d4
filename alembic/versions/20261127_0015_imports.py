"""What an imported post is called in its list: the same row of a mission makes no second post.

Beside the previous release: it does not know the column and drafts posts without it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("post", sa.Column("import_ref", sa.String(), nullable=True))
    op.create_index("uq_post_import_ref", "post", ["mission_id", "import_ref"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_post_import_ref", table_name="post")
    op.drop_column("post", "import_ref")
